import json
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest
import yaml

from tasks.base.params import Params, load_params
from tasks.base.workspace import Workspace
from tasks.index.gallery_rows import read_gallery
from tasks.index.ingestion_receipt import Receipt, milvus_uri
from tasks.ingest import ingest
from tests.support.evaluated_catalogue import tiny_params
from tests.support.kill_a_stage import process
from tests.support.tiny_model_bundle import scene, write_bundle, write_gallery, write_photo
from unbundle.base.errors import UserError
from unbundle.index.gallery_collection import Gallery
from unbundle.index.milvus_database import Database


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    write_gallery(tmp_path)
    write_bundle(tmp_path / "artifacts/bundle")
    return Workspace(tmp_path)


@pytest.fixture
def params(tmp_path: Path) -> Params:
    """Four rows a batch, so that the gallery of twelve takes three."""
    read = tiny_params(tmp_path)
    return read.model_copy(update={"ingest": read.ingest.model_copy(update={"batch": 4})})


def opened(workspace: Workspace) -> Iterator[Gallery]:
    with Database(str(workspace.milvus)) as database:
        yield database.gallery(Receipt.read(workspace.receipt).collection)


def encoded(workspace: Workspace) -> int:
    report = (workspace.root / "reports/ingestion.json").read_text(encoding="utf-8")
    return int(json.loads(report)["encoded"])


def test_the_gallery_is_in_the_collection(workspace: Workspace, params: Params) -> None:
    ingest(workspace, params)
    receipt = Receipt.read(workspace.receipt)
    assert (receipt.rows, receipt.dimension) == (12, 52)
    assert receipt.index == {"type": "FLAT", "metric": "IP"}
    for gallery in opened(workspace):
        assert gallery.rows.ids == [item.id for item in read_gallery(workspace.manifest)]
        assert gallery.properties["bundle"] == receipt.bundle
        assert gallery.properties["gallery"] == receipt.gallery
        hit = gallery.rows.hits[-1]
        assert (hit.id, hit.label, hit.caption) == ("g5-1", "product-5", "red cream 5")
        assert hit.fields == {"price": 15.0, "brand": "brand-1"}


def test_a_second_run_does_nothing(workspace: Workspace, params: Params) -> None:
    ingest(workspace, params)
    first = workspace.receipt.read_bytes()
    (workspace.root / "reports/ingestion.json").unlink()
    ingest(workspace, params)
    assert workspace.receipt.read_bytes() == first
    assert not (workspace.root / "reports/ingestion.json").exists()


def test_the_receipt_is_the_same_in_another_database(workspace: Workspace, params: Params) -> None:
    ingest(workspace, params)
    first = workspace.receipt.read_bytes()
    shutil.rmtree(workspace.milvus)
    ingest(workspace, params)
    assert workspace.receipt.read_bytes() == first
    assert encoded(workspace) == 12


def test_what_changes_an_answer_makes_a_new_collection(
    workspace: Workspace, params: Params
) -> None:
    def name() -> str:
        ingest(workspace, params)
        return Receipt.read(workspace.receipt).collection

    names = [name()]
    write_photo(workspace.catalogue / "images/g0-0.png", scene([77]))
    names.append(name())
    write_bundle(workspace.bundle, seed=1)
    names.append(name())
    write_gallery(workspace.root, products=7)
    names.append(name())
    assert len(set(names)) == 4
    with Database(str(workspace.milvus)) as database:
        assert {item.name: item.rows for item in database.collections()} == dict(
            zip(names, (12, 12, 12, 14), strict=True)
        )


def _ingest_and_die(root: Path, last: str) -> None:
    """Run the stage in this process, which SIGKILL ends after the batch of row `last`."""
    write = Gallery.insert

    def write_and_die(self: Gallery, items: Any, vectors: Any, keypoints: Any) -> None:
        write(self, items, vectors, keypoints)
        if items[-1].id == last:
            os.kill(os.getpid(), signal.SIGKILL)

    Gallery.insert = write_and_die  # type: ignore[method-assign]
    ingest(Workspace(root), load_params(root / "params.yaml"))


def test_a_killed_run_goes_on_where_it_was(
    workspace: Workspace, params: Params, tmp_path: Path
) -> None:
    given = yaml.safe_load((tmp_path / "params.yaml").read_text(encoding="utf-8"))
    given["ingest"]["batch"] = params.ingest.batch
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(given), encoding="utf-8")
    # Dies after the second of three batches.
    child = process(_ingest_and_die, tmp_path, "g3-1")
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL
    assert not workspace.receipt.exists()

    ingest(workspace, params)
    assert encoded(workspace) == 4
    for gallery in opened(workspace):
        resumed = gallery.rows
    shutil.rmtree(workspace.milvus)
    ingest(workspace, params)
    for gallery in opened(workspace):
        assert gallery.rows.hits == resumed.hits
        np.testing.assert_array_equal(gallery.rows.vectors, resumed.vectors)
        assert gallery.rows.keypoints == resumed.keypoints


def test_rows_of_someone_else_are_noticed(workspace: Workspace, params: Params) -> None:
    ingest(workspace, params)
    receipt = Receipt.read(workspace.receipt)
    with Database(str(workspace.milvus)) as database:
        gallery = database.gallery(receipt.collection)
        stranger = gallery.rows.hits[0]
        row = {"id": "stranger", "vector": gallery.rows.vectors[0].tolist(), **stranger.fields}
        texts = dict.fromkeys(("label", "caption", "image", "digest", "source", "keypoints"), "")
        database.client.upsert(receipt.collection, [row | texts])
    with pytest.raises(UserError, match="has 13 rows, expected 12: something else writes to it"):
        ingest(workspace, params)


@pytest.mark.parametrize(
    ("missing", "line"),
    [
        ("artifacts/bundle/bundle.json", "no bundle"),
        ("data/manifest.parquet", "no such file; run `dvc repro validate`"),
        ("data/catalogue/images/g1-0.png", r"g1-0\.png: no such file"),
    ],
)
def test_a_missing_input_is_named_and_nothing_is_written(
    workspace: Workspace, params: Params, missing: str, line: str
) -> None:
    (workspace.root / missing).unlink()
    with pytest.raises(UserError, match=line):
        ingest(workspace, params)
    assert not workspace.receipt.exists()
    assert not workspace.milvus.exists()


def test_a_manifest_without_gallery_rows_is_refused(workspace: Workspace, params: Params) -> None:
    table = pyarrow.parquet.read_table(workspace.manifest, filters=[("split", "=", "dev")])
    pyarrow.parquet.write_table(table, workspace.manifest)
    with pytest.raises(UserError, match="no row of split gallery"):
        ingest(workspace, params)


def test_the_environment_wins_over_params(
    workspace: Workspace, params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = params.ingest.model_copy(update={"uri": "other.db"})
    assert milvus_uri(workspace, params.ingest) == str(workspace.milvus)
    assert milvus_uri(workspace, other) == "other.db"
    monkeypatch.setenv("MILVUS_URI", "http://milvus:19530")
    assert milvus_uri(workspace, other) == "http://milvus:19530"


def test_without_a_receipt_there_is_a_line(workspace: Workspace) -> None:
    with pytest.raises(UserError, match=r"ingestion\.json: no such file; run `dvc repro ingest`"):
        Receipt.read(workspace.receipt)
