import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tasks.base.workspace import Workspace
from tasks.index.ingestion_receipt import Receipt
from tests.support.served_catalogue import Service, candidate, copied, service
from tests.support.tiny_model_bundle import scene
from tests.support.waiting import until
from unbundle import Answer, ProductSearch
from unbundle.base.request_limits import Limits
from unbundle.http.served_champion import LiveChampion, NotReadyError
from unbundle.index.milvus_database import Database, is_locked

LIMITS = Limits(workers=2, queue=32, poll=0.05)
QUERY = {"caption": "red cream"}


@pytest.fixture
def world(served: Workspace, tmp_path: Path) -> Workspace:
    return copied(served, tmp_path / "world")


def live(world: Workspace) -> LiveChampion:
    return LiveChampion(world.bundles, str(world.milvus), threads=1, poll=60)


def promote(world: Workspace, collection: str) -> None:
    with Database(str(world.milvus)) as database:
        database.promote(collection)


def expected(world: Workspace, collection: str) -> Answer:
    with ProductSearch(world.bundles, str(world.milvus), collection, threads=1) as search:
        return search(**QUERY)


def test_a_promotion_under_load_loses_and_mixes_nothing(world: Workspace) -> None:
    old, new = Receipt.read(world.receipt), candidate(world)
    truth = {name: expected(world, name).to_dict() for name in (old.collection, new.collection)}
    ended = threading.Event()
    faults: list[str] = []
    seen: list[str] = []

    def ask(running: Service) -> None:
        with httpx.Client(base_url=running.url, timeout=30, trust_env=False) as client:
            while not ended.is_set():
                response = client.post("/search", json=QUERY)
                answer = response.json()
                name = answer.get("collection", "")
                seen.append(name)
                if response.status_code != 200 or not same(answer, truth[name]):
                    faults.append(response.text)
                time.sleep(0.005)

    def asked(running: Service) -> str:
        return str(running.client.post("/search", json=QUERY).json()["collection"])

    with (
        service(world.bundles, world.milvus, LIMITS) as running,
        ThreadPoolExecutor(3) as pool,
    ):
        clients = [pool.submit(ask, running) for _ in range(3)]
        try:
            for target in (new.collection, old.collection, new.collection):
                promote(world, target)
                until(lambda: faults or asked(running) == target)  # noqa: B023
                assert not faults
        finally:
            ended.set()
        for client in clients:
            client.result()
        assert running.live.state.changes == 4
    assert not faults
    assert set(seen) == set(truth)
    assert not is_locked(world.milvus)  # every champion was closed


def same(answer: dict[str, object], truth: dict[str, object]) -> bool:
    keys = ("collection", "bundle")
    return all(answer[key] == truth[key] for key in keys) and scores(answer) == scores(truth)


def scores(answer: dict[str, object]) -> list[tuple[str, float]]:
    (instance,) = answer["instances"]  # type: ignore[misc]
    return [(hit["id"], round(hit["score"], 5)) for hit in instance["hits"]]


def test_without_its_bundle_nothing_is_ready_until_it_comes(
    world: Workspace, tmp_path: Path
) -> None:
    receipt = Receipt.read(world.receipt)
    empty = tmp_path / "bundles of the shop"
    empty.mkdir()
    with service(empty, world.milvus, LIMITS) as running:
        ready = running.client.get("/readyz")
        assert ready.status_code == 503
        assert ready.json()["detail"].startswith(f"{empty}: no bundle {receipt.bundle}")
        assert running.client.get("/healthz").status_code == 200
        refused = running.client.post("/search", json=QUERY)
        assert refused.json()["type"] == "urn:unbundle:problem:not-ready"
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        assert "unbundle_ready 0.0" in running.client.get("/metrics").text
        shutil.copytree(world.bundles / receipt.bundle, empty / ".part")
        (empty / ".part").rename(empty / receipt.bundle)
        until(lambda: running.client.get("/readyz").status_code == 200)
        assert running.client.post("/search", json=QUERY).json()["bundle"] == receipt.bundle


def test_a_promoted_index_without_its_bundle_leaves_the_old_one_serving(world: Workspace) -> None:
    old, new = Receipt.read(world.receipt), candidate(world)
    bundle = world.bundles / new.bundle
    (bundle / "capture.onnx").rename(bundle / "away")
    with live(world) as champion:
        promote(world, new.collection)
        champion.follow()
        state = champion.state
        assert (state.ready, state.collection, state.bundle) == (True, old.collection, old.bundle)
        assert "capture.onnx: no such file" in state.problem
        (bundle / "away").rename(bundle / "capture.onnx")
        champion.follow()
        assert (champion.state.collection, champion.state.problem) == (new.collection, "")


def test_a_running_query_ends_on_the_champion_it_began_with(world: Workspace) -> None:
    old, new = Receipt.read(world.receipt), candidate(world)
    photo = scene([3])
    with live(world) as champion:
        with champion.champion() as before:
            promote(world, new.collection)
            champion.follow()
            assert champion.state.collection == new.collection
            with champion.champion() as after:
                assert after(photo).collection == new.collection
            assert before(photo).collection == old.collection
        with champion.champion() as search:
            assert search(photo).bundle == new.bundle
    assert not is_locked(world.milvus)


def test_an_index_that_someone_released_is_not_ready_until_it_is_loaded(world: Workspace) -> None:
    collection = Receipt.read(world.receipt).collection
    with service(world.bundles, world.milvus, Limits(poll=60)) as running:
        assert running.client.get("/readyz").status_code == 200
        with Database(str(world.milvus)) as database:
            database.client.release_collection(collection)
        response = running.client.post("/search", json=QUERY)
        assert response.json()["type"] == "urn:unbundle:problem:index-failed"
        assert (response.status_code, response.headers["retry-after"]) == (503, "1")
        running.live.follow()
        ready = running.client.get("/readyz")
        assert ready.status_code == 503
        assert "the index does not answer" in ready.json()["detail"]
        running.live.follow()
        assert running.client.get("/readyz").json()["status"] == "ready"
        assert running.client.post("/search", json=QUERY).status_code == 200


def test_a_missing_database_is_waited_for(tmp_path: Path) -> None:
    with LiveChampion(tmp_path, str(tmp_path / "milvus.db"), poll=60) as champion:
        assert "no such Milvus database" in champion.state.problem
        with pytest.raises(NotReadyError), champion.champion():
            pass


def test_searches_of_one_folder_open_and_close_at_once(world: Workspace) -> None:
    def ask(_: int) -> str:
        with ProductSearch(world.bundles, str(world.milvus), threads=1) as search:
            return search(**QUERY).collection

    with ThreadPoolExecutor(4) as pool:
        names = set(pool.map(ask, range(12)))
    assert names == {Receipt.read(world.receipt).collection}
    assert not is_locked(world.milvus)
