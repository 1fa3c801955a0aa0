"""PUT and DELETE of products, over HTTP, on a served world."""

import base64
import errno
import json
import os
import re
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tasks.base.workspace import Workspace
from tasks.refresh import refresh
from tests.support.changing_catalogue import Shop, labels
from tests.support.evaluated_catalogue import tiny_params
from tests.support.served_catalogue import Service, candidate, copied, service
from tests.support.tiny_model_bundle import png, scene
from unbundle.base.request_limits import Limits
from unbundle.encoding.query_encoder import Encoder
from unbundle.index.change_journal import Journal
from unbundle.index.milvus_database import Database
from unbundle.index.put_and_delete import catch_up
from unbundle.query.search import bundle_of

DOCS = (Path(__file__).parents[3] / "docs/serving.md").read_text(encoding="utf-8")
KEY = "the key of this test"
HEADERS = {"Authorization": f"Bearer {KEY}"}
LIMITS = Limits(body_bytes=100_000, pixels=10_000, caption=50, poll=60)
FIELDS = {"price": 12.5, "brand": "brand-9"}


@pytest.fixture
def world(served: Workspace, tmp_path: Path) -> Workspace:
    return copied(served, tmp_path / "world")


@pytest.fixture
def running(world: Workspace, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    monkeypatch.setenv("UNBUNDLE_API_KEY", KEY)
    with service(world.bundles, world.milvus, LIMITS, Journal(world.journal)) as started:
        started.client.headers.update(HEADERS)
        yield started


@pytest.fixture(scope="module")
def keyed(served: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with a key in which every change is refused."""
    journal = tmp_path_factory.mktemp("refused")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("UNBUNDLE_API_KEY", KEY)
        with service(served.bundles, served.milvus, LIMITS, Journal(journal)) as started:
            started.client.headers.update(HEADERS)
            yield started
    assert list(Journal(journal).changed()) == []


@pytest.fixture(scope="module")
def closed(served: Workspace) -> Iterator[Service]:
    """A service without a key."""
    with service(served.bundles, served.milvus, LIMITS) as started:
        yield started


def as_json(number: int, **values: Any) -> dict[str, Any]:
    photo = base64.b64encode(png(scene([number]))).decode()
    return {"json": {"photo": photo, "fields": FIELDS, "caption": "red", **values}}


def as_form(number: int, **values: Any) -> dict[str, Any]:
    texts = {"fields": json.dumps(FIELDS), "caption": "red", **values}
    files = {name: (None, text) for name, text in texts.items()}
    return {"files": files | {"photo": ("p.png", png(scene([number])))}}


def first(running: Service, number: int) -> dict[str, Any]:
    """The best hit for a photo of product `number`."""
    answer = running.client.post("/search", files={"photo": png(scene([number]))}).json()
    hit: dict[str, Any] = answer["instances"][0]["hits"][0]
    return hit


@pytest.mark.parametrize("form", [as_json, as_form], ids=["json", "form"])
def test_a_product_is_found_by_the_next_query_and_then_missed(running: Service, form: Any) -> None:
    assert first(running, 40)["id"] != "new"
    for _ in range(2):
        response = running.client.put("/products/new", **form(40, label="product-40"))
        assert response.status_code == 204, response.text
        hit = first(running, 40)
        assert (hit["id"], hit["label"], hit["fields"]) == ("new", "product-40", FIELDS)
    # Another photo under the same id takes its place.
    assert running.client.put("/products/new", **form(41)).status_code == 204
    assert first(running, 41)["id"] == "new"
    for _ in range(2):
        assert running.client.delete("/products/new").status_code == 204
        assert running.client.get("/products/new").status_code == 404
    assert first(running, 41)["id"] != "new"


def test_a_price_that_is_not_there_comes_back_as_null(running: Service) -> None:
    fields = FIELDS | {"price": None}
    response = running.client.put("/products/new", **as_json(40, fields=fields))
    assert response.status_code == 204, response.text
    assert running.client.get("/products/new").json()["fields"] == fields
    query = {"files": {"photo": png(scene([40]))}}
    answer = running.client.post("/search", **query).json()
    assert (answer["parts"]["items"], answer["parts"]["unknown"]) == ([], [0])
    refused = running.client.put("/products/new", **as_json(40, fields=FIELDS | {"price": "dear"}))
    assert refused.status_code == 422


def test_the_documented_commands_work(running: Service, tmp_path: Path, world: Workspace) -> None:
    (tmp_path / "photo.jpg").write_bytes(png(scene([40])))
    (block,) = (text for text in re.findall(r"```sh\n(.*?)```", DOCS, re.S) if "API_KEY" in text)
    script = block.replace("http://127.0.0.1:8000", running.url)
    script = script.replace("curl -sS", "curl -sS --fail --noproxy '*'")
    subprocess.run(["bash", "-euc", script], cwd=tmp_path, check=True)
    (change,) = Journal(world.journal).changed()
    assert (change.id, change.item) == ("g9-0", None)


def test_every_change_is_in_the_journal_once(running: Service, world: Workspace) -> None:
    for _ in range(2):
        running.client.put("/products/new", **as_json(40))
    running.client.delete("/products/g0-0")
    running.client.delete("/products/never-there")
    changes = list(Journal(world.journal).changed())
    assert [(one.id, one.origin, one.item is None) for one in changes] == [
        ("new", "service", False),
        ("g0-0", "service", True),
    ]


def test_a_full_journal_refuses_changes_and_searches_go_on(
    running: Service, world: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert running.client.get("/readyz").json()["changes"] == "taken"
    with monkeypatch.context() as patched:
        fill(patched)
        for response in (
            running.client.put("/products/new", **as_json(40)),
            running.client.delete("/products/g0-0"),
        ):
            assert (response.status_code, response.headers["retry-after"]) == (507, "1")
            assert response.json()["type"] == "urn:unbundle:problem:journal-full"
        assert first(running, 40)["id"] != "new"
        assert running.client.get("/products/g0-0").status_code == 200
        ready = running.client.get("/readyz")
        assert (ready.status_code, ready.json()["changes"]) == (200, "journal-full")
        assert "unbundle_journal_full 1.0" in running.client.get("/metrics").text
    assert list(Journal(world.journal).changed()) == []
    assert running.client.get("/readyz").json()["changes"] == "taken"
    assert running.client.put("/products/new", **as_json(40)).status_code == 204


def fill(patched: pytest.MonkeyPatch) -> None:
    """Let the journal's disk have no room for another page of its table."""
    opened = Journal._open

    def full(journal: Journal) -> sqlite3.Connection:
        table = opened(journal)
        table.execute("PRAGMA max_page_count = 1")
        return table

    def no_room(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    patched.setattr(Journal, "_open", full)
    patched.setattr(os, "posix_fallocate", no_room)


def test_without_a_key_nobody_changes_anything(closed: Service) -> None:
    for response in (
        closed.client.put("/products/new", headers=HEADERS, **as_json(40)),
        closed.client.delete("/products/g0-0", headers=HEADERS),
    ):
        assert response.status_code == 403
        assert response.json()["type"] == "urn:unbundle:problem:changes-off"
    assert closed.client.get("/products/g0-0").status_code == 200


@pytest.mark.parametrize(
    "given", [None, "Bearer", "Bearer wrong", f"Basic {KEY}", f"Bearer {KEY}x", f"Bearer é{KEY}"]
)
def test_a_wrong_key_changes_nothing(keyed: Service, given: str | None) -> None:
    with httpx.Client(base_url=keyed.url, trust_env=False) as client:
        headers = {} if given is None else {b"authorization": given.encode()}
        for method, body in (("PUT", as_json(40)), ("DELETE", {})):
            response = client.request(method, "/products/g0-0", headers=headers, **body)
            assert response.status_code == 401
            assert response.headers["www-authenticate"] == "Bearer"
            assert response.json()["type"] == "urn:unbundle:problem:key-needed"
            assert KEY not in response.text
    assert keyed.client.get("/products/g0-0").json()["caption"] == "red cream 0"


@pytest.mark.parametrize(
    ("body", "status", "detail"),
    [
        (as_json(1, photo=base64.b64encode(b"no photo").decode()), 422, "not a readable image"),
        (as_json(1, fields={"price": 1}), 422, "id new: no brand, a column of products_"),
        (as_json(1, fields={"price": "cheap", "brand": ""}), 422, "price 'cheap': expected a num"),
        (as_json(1, caption="x" * 51), 422, "caption: 51 are too many; the limit is 50"),
        (as_json(1, label="x" * 5000), 422, "label: Value error, longer than 4096"),
        (as_json(1, caption="面" * 1400), 422, "caption: "),
        (as_json(1, label="a\0"), 422, "label: Value error, a NUL character"),
        (as_json(1, image="a\0"), 422, "image: Value error, a NUL character"),
        (as_json(1, fields=FIELDS | {"brand": "a\0"}), 422, "fields.brand: Value error, a NUL"),
        (as_json(1, fields=FIELDS | {"brand": "x" * 5000}), 422, "fields.brand: Value error, long"),
        (as_json(1, fields=FIELDS | {"shade": "red"}), 422, "fields.shade: no column of products_"),
        (
            as_json(1, fields=FIELDS | {"price": -0.01}),
            422,
            "fields.price: -0.01: expected a price",
        ),
        (as_json(1, fields={"price": "-1", "brand": ""}), 422, "fields.price: -1: expected"),
        (as_json(1, colour="red"), 422, "colour"),
        ({"json": {"caption": "red"}}, 422, "photo"),
        ({"files": {"photo": b"x" * 100_001}}, 413, "more than 100,000 bytes"),
        ({"content": b"x"}, 415, "content type none"),
        (as_json(1) | {"headers": {"content-type": "text/plain"}}, 415, "text/plain"),
    ],
)
def test_what_cannot_be_put_is_a_problem(
    keyed: Service, body: dict[str, Any], status: int, detail: str
) -> None:
    response = keyed.client.put("/products/new", **body)
    assert response.status_code == status, response.text
    assert detail in response.json()["detail"]


@pytest.mark.parametrize("name", ["a b", "x' or id not in ['x", "x" * 65, "-", "%2e%2e", "_", ":"])
def test_an_id_that_no_index_holds_is_refused(keyed: Service, name: str) -> None:
    assert keyed.client.put(f"/products/{name}", **as_json(1)).status_code == 422
    assert keyed.client.delete(f"/products/{name}").status_code == 422


def test_a_change_during_a_promotion_reaches_the_new_index(
    running: Service, world: Workspace
) -> None:
    fresh = candidate(world)
    with Database(str(world.milvus)) as database:
        # The alias moves, and the promotion reads the journal, before the change is made.
        database.promote(fresh.collection)
        gallery = database.gallery()
        journal = Journal(world.journal)
        catch_up(gallery, lambda: Encoder(bundle_of(gallery, world.bundles)), journal)
        assert running.live.state.collection != fresh.collection
        assert running.client.put("/products/new", **as_json(40)).status_code == 204
        assert running.live.state.collection == fresh.collection
        assert "new" in gallery.traces(["new"])
    assert first(running, 40)["id"] == "new"


def test_while_the_new_index_cannot_be_opened_changes_are_refused(
    running: Service, world: Workspace
) -> None:
    fresh = candidate(world)
    shutil.rmtree(world.bundles / fresh.bundle)
    with Database(str(world.milvus)) as database:
        database.promote(fresh.collection)
    response = running.client.put("/products/new", **as_json(40))
    assert response.status_code == 503
    assert response.json()["type"] == "urn:unbundle:problem:not-ready"


def test_clients_changes_hold_until_the_source_changes_the_row(world: Workspace) -> None:
    shop, params = Shop(world), tiny_params(world.root)
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("UNBUNDLE_API_KEY", KEY)
        with service(world.bundles, world.milvus, LIMITS, Journal(world.journal)) as running:
            for name in ("mine", "g0-0", "g1-0"):
                body = as_json(50, label="put")
                assert running.client.put(f"/products/{name}", headers=HEADERS, **body).is_success
            for name in ("g2-0", "g3-0"):
                assert running.client.delete(f"/products/{name}", headers=HEADERS).is_success
    refreshed = refresh(world, params)
    assert {name: count for name, count in refreshed.counts.items() if count} == {"withheld": 2}
    found = labels(world)
    assert [found.get(name) for name in ("mine", "g0-0", "g2-0")] == ["put", "put", None]
    for name in ("g0-0", "g2-0"):
        shop.rows[name]["caption"] = "green serum"
    shop.save()
    refreshed = refresh(world, params)
    assert (refreshed.counts["added"], refreshed.counts["changed"]) == (1, 1)
    found = labels(world)
    assert [found.get(name) for name in ("mine", "g0-0", "g1-0", "g2-0", "g3-0")] == [
        "put",
        "product-0",
        "put",
        "product-2",
        None,
    ]
