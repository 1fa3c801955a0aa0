"""A shop's catalogue changes, and the serving index follows; real index, bundle and journal."""

import json
import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tasks.base.params import Params, load_params
from tasks.base.workspace import Workspace
from tasks.index.apply_refresh import Refreshed
from tasks.index.ingestion_receipt import Receipt
from tasks.ingest import ingest
from tasks.refresh import refresh
from tests.support.changing_catalogue import Shop, index, labels
from tests.support.evaluated_catalogue import tiny_params
from tests.support.kill_a_stage import process
from tests.support.served_catalogue import copied
from tests.support.tiny_model_bundle import scene
from unbundle import ProductSearch
from unbundle.base.errors import UserError
from unbundle.encoding.model_bundle import Bundle
from unbundle.encoding.query_encoder import Encoder
from unbundle.index.change_journal import Journal
from unbundle.index.gallery_collection import Gallery
from unbundle.index.milvus_database import CHAMPION, Database


@pytest.fixture
def shop(served: Workspace, tmp_path: Path) -> Shop:
    return Shop(copied(served, tmp_path / "shop"))


@pytest.fixture
def params(shop: Shop) -> Params:
    return tiny_params(shop.workspace.root)


def done(refreshed: Refreshed) -> dict[str, int]:
    return {name: count for name, count in refreshed.counts.items() if count}


def listed(refreshed: Refreshed) -> Any:
    return json.loads(refreshed.receipt.read_text(encoding="utf-8"))


def first(workspace: Workspace, number: int) -> str:
    """Id of the best hit for a photo of product `number`."""
    with ProductSearch(workspace.bundles, str(workspace.milvus), threads=1) as search:
        return search(scene([number]), k=1).instances[0].hits[0].id


def test_a_fresh_index_needs_nothing(shop: Shop, params: Params) -> None:
    refreshed = refresh(shop.workspace, params)
    assert done(refreshed) == {}
    assert listed(refreshed)["products"] == []
    assert list(Journal(shop.workspace.journal).changed()) == []


def test_products_are_added_changed_and_removed(shop: Shop, params: Params) -> None:
    for number in (20, 21, 22, 23):
        shop.add(f"n{number}", number)
    shop.draw("g1-0", 30)
    shop.rows["g2-0"]["caption"] = "green serum"
    shop.rows["g3-0"]["price"] = "99"
    del shop.rows["g5-0"]
    shop.save()
    refreshed = refresh(shop.workspace, params)
    assert done(refreshed) == {"added": 4, "changed": 3, "removed": 1}
    receipt = listed(refreshed)
    assert {row["id"]: row["outcome"] for row in receipt["products"]} == {
        **{f"n{number}": "added" for number in (20, 21, 22, 23)},
        **dict.fromkeys(("g1-0", "g2-0", "g3-0"), "changed"),
        "g5-0": "removed",
    }
    assert first(shop.workspace, 22) == "n22"
    assert first(shop.workspace, 30) == "g1-0"
    with index(shop.workspace) as gallery:
        rows = {hit.id: hit for hit in gallery.rows.hits}
    assert rows["g2-0"].caption == "green serum"
    assert rows["g3-0"].fields["price"] == 99
    assert set(rows) == {name for name, row in shop.rows.items() if row["split"] == "gallery"}
    assert done(refresh(shop.workspace, params)) == {}, "a second run finds no difference"


def test_rows_look_as_those_of_an_ingestion(shop: Shop, params: Params, tmp_path: Path) -> None:
    shop.add("n20", 20)
    shop.save()
    refresh(shop.workspace, params)
    with index(shop.workspace) as gallery:
        row = gallery.rows.ids.index("n20")
        vector, local = gallery.rows.vectors[row], gallery.rows.keypoints[row]
        version = gallery.properties["bundle"]
    encoder = Encoder(Bundle.open(shop.workspace.bundles / version))
    expected = encoder.encode_gallery([scene([20])], ["red cream 20"])
    np.testing.assert_allclose(vector, expected.vectors[0], atol=1e-6)
    assert [local] == expected.keypoints


def test_a_bad_row_is_named_and_the_rest_goes_on(shop: Shop, params: Params) -> None:
    for number in (20, 21, 22, 23, 24):
        shop.add(f"n{number}", number)
    shop.photo("n20").write_bytes(b"no photo")
    shop.photo("n21").unlink()
    whole = shop.photo("g0-0").read_bytes()
    shop.photo("g0-0").write_bytes(whole[: len(whole) // 2])
    shop.rows["n22"]["price"] = "cheap"
    shop.rows["n23"]["labels"] = ""
    shop.rows["twice"] = shop.rows["g4-0"]
    shop.save()
    refreshed = refresh(shop.workspace, params)
    assert done(refreshed) == {"added": 1, "quarantined": 5}
    reasons = {row["id"]: row.get("reason", "") for row in listed(refreshed)["products"]}
    assert "in no format that is known" in reasons["n20"]
    assert "is not in the catalogue folder" in reasons["n21"]
    assert reasons["n22"] == "id n22: price 'cheap': expected a number or nothing"
    assert reasons["n23"] == "a gallery row needs the label of one product, it has 0"
    assert "does not decode" in reasons["g0-0"]
    assert reasons["n24"] == ""
    # What is served stays, however broken its source.
    assert {"g0-0", "g4-0", "n24"} <= set(labels(shop.workspace))


def test_a_changed_row_whose_id_comes_twice_is_refused(shop: Shop, params: Params) -> None:
    shop.rows["twice"] = shop.rows["g4-0"] | {"caption": "another"}
    shop.save()
    refreshed = refresh(shop.workspace, params)
    (row,) = listed(refreshed)["products"]
    assert (row["id"], row["reason"]) == ("g4-0", "its id occurs more than once")
    assert "g4-0" in labels(shop.workspace)


def test_a_catalogue_that_lost_most_is_not_believed(shop: Shop, params: Params) -> None:
    for name in [name for name in shop.rows if name.startswith(("g1", "g2", "g3"))]:
        del shop.rows[name]
    shop.save()
    with pytest.raises(UserError, match="lacks 6 of the 12 products that are served"):
        refresh(shop.workspace, params)
    assert len(labels(shop.workspace)) == 12


def _refresh_and_die(root: Path) -> None:
    """Refresh in this process, which SIGKILL ends before the second shard is written."""
    write, calls = Gallery.write, []

    def write_and_die(self: Gallery, entities: Any) -> None:
        calls.append(entities)
        if len(calls) == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        write(self, entities)

    Gallery.write = write_and_die  # type: ignore[method-assign]
    refresh(Workspace(root), load_params(root / "params.yaml"))


def test_a_killed_refresh_is_completed_by_the_next(shop: Shop, params: Params) -> None:
    root = shop.workspace.root
    text = (root / "params.yaml").read_text(encoding="utf-8")
    (root / "params.yaml").write_text(text.replace("shard: 256", "shard: 2"))
    for number in (20, 21, 22, 23, 24):
        shop.add(f"n{number}", number)
    shop.save()
    child = process(_refresh_and_die, root)
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL
    # The second shard was recorded and not written: catching up writes it, before the comparison.
    refreshed = refresh(shop.workspace, params)
    assert done(refreshed) == {"added": 1}
    assert {f"n{number}" for number in range(20, 25)} <= set(labels(shop.workspace))


def test_an_index_that_serves_is_not_ingested_again(shop: Shop, params: Params) -> None:
    served = Receipt.read(shop.workspace.receipt)
    shop.add("n20", 20)
    del shop.rows["g5-0"]
    shop.save()
    refresh(shop.workspace, params)
    ingest(shop.workspace, params)
    assert replace(Receipt.read(shop.workspace.receipt), uri=served.uri) == served
    assert {"n20"} <= set(labels(shop.workspace, served.collection))
    assert "g5-0" not in labels(shop.workspace, served.collection)


def test_the_source_may_be_another_folder(shop: Shop, params: Params, tmp_path: Path) -> None:
    source = tmp_path / "source"
    shutil.copytree(shop.folder, source)
    shutil.rmtree(shop.folder)
    folder = params.catalogue.model_copy(update={"source": "folder", "path": source})
    assert done(refresh(shop.workspace, params.model_copy(update={"catalogue": folder}))) == {}


def test_without_a_promoted_index_there_is_a_line(tmp_path: Path) -> None:
    params = tiny_params(tmp_path)
    with Database(str(Workspace(tmp_path).milvus), create=True) as database:
        assert database.target(CHAMPION) is None
    with pytest.raises(UserError, match=r"no promoted index \(alias products\)"):
        refresh(Workspace(tmp_path), params)
