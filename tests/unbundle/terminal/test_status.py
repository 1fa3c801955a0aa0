import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from pymilvus import MilvusClient

from tasks.base.workspace import Workspace
from tasks.index.ingestion_receipt import Receipt
from tests.support.documented_commands import commands
from tests.support.served_catalogue import candidate, copied, serving
from tests.support.waiting import listens, until
from unbundle.cli import main
from unbundle.index.milvus_database import Database
from unbundle.query.search import ProductSearch
from unbundle.ranking.embedding_parts import TERMS
from unbundle.terminal.status import age

QUERY = {"caption": "red cream", "k": 3}


@pytest.fixture(scope="module")
def world(
    served: Workspace, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Workspace, Receipt, Receipt]:
    """Two promoted indexes of different bundles, the second one serving."""
    workspace = copied(served, tmp_path_factory.mktemp("status") / "world")
    old, new = Receipt.read(workspace.receipt), candidate(workspace)
    with Database(str(workspace.milvus)) as database:
        gallery = database.gallery(new.collection)
        gallery.annotate({"evaluation": '{"mAP@10": 0.5, "coverage@10": 0.75, "index": 1}'})
        database.promote(new.collection)
    return workspace, old, new


def status(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as ended:
        main(["status", *arguments])
    assert ended.value.code in (0, None)
    return capsys.readouterr().out


def test_status_shows_figures_age_and_size_of_what_serves_and_served(
    world: tuple[Workspace, Receipt, Receipt],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    workspace, old, new = world
    monkeypatch.chdir(workspace.root)
    told = json.loads(status(capsys, "--json"))
    champion, previous = told["versions"]
    assert [champion["role"], previous["role"]] == ["champion", "previous"]
    assert [champion["index"]["name"], previous["index"]["name"]] == [
        new.collection,
        old.collection,
    ]
    assert champion["index"]["evaluation"]["mAP@10"] == 0.5
    assert champion["vector_bytes"] == 12 * new.dimension * 4
    folder = workspace.bundles / new.bundle
    assert champion["bundle_bytes"] == sum(path.stat().st_size for path in folder.iterdir())
    assert champion["index"]["promoted"] > champion["index"]["created"]
    shown = status(capsys)
    line = next(line for line in shown.splitlines() if line.startswith("champion"))
    assert [new.collection, new.bundle, "12", "0.500", "0.750"] == line.split()[1:6]
    assert "its bundle" not in shown
    (folder / "bundle.json").rename(folder / "away")
    assert f"its bundle {new.bundle} is gone" in status(capsys)
    (folder / "away").rename(folder / "bundle.json")


def test_a_folder_may_be_named_by_the_environment(
    world: tuple[Workspace, Receipt, Receipt],
) -> None:
    """As a relative path, in a process that has not imported pymilvus yet."""
    workspace, _, new = world
    told = subprocess.run(
        [sys.executable, "-m", "unbundle.cli", "status"],
        cwd=workspace.root,
        env=os.environ | {"MILVUS_URI": "data/milvus.db"},
        capture_output=True,
        text=True,
    )
    assert (told.returncode, told.stderr) == (0, "")
    assert f"products: {new.collection}" in told.stdout


def test_an_index_without_a_trained_term_says_that_it_is_the_plain_search(
    served: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    workspace = copied(served, tmp_path / "world")
    places = "--uri", str(workspace.milvus), "--bundle", str(workspace.bundles)
    assert "plain search" not in status(capsys, *places)
    settings = next(workspace.bundles.iterdir()) / "bundle.json"
    content = json.loads(settings.read_text())
    plain = dict.fromkeys(TERMS, 0.0) | {"raw": 0.35, "lexical": 1.0}
    content["embedding"]["weights"]["both"] = plain
    settings.write_text(json.dumps(content))
    assert "the plain search, no trained term ranks" in status(capsys, *places)
    settings.write_text("{}")
    assert "plain search" not in status(capsys, *places)


@pytest.mark.parametrize(
    ("past", "text"),
    [
        (timedelta(seconds=3), "3 s"),
        (timedelta(minutes=59), "59 min"),
        (timedelta(hours=25), "1 d"),
    ],
)
def test_an_age_is_in_its_largest_unit(past: timedelta, text: str) -> None:
    assert age((datetime.now(UTC) - past).isoformat()) == text


@contextmanager
def lite_server(folder: Path) -> Iterator[str]:
    """The folder of a Milvus Lite shared between processes: its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    program = Path(sys.executable).parent / "milvus-lite"
    options = ["--data-dir", str(folder), "--host", "127.0.0.1", "--port", str(port)]
    process = subprocess.Popen(
        [program, "server", *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    uri = f"http://127.0.0.1:{port}"
    try:
        until(lambda: process.poll() is not None or listens(port))
        yield uri
    finally:
        process.terminate()
        process.wait(30)


def essence(answer: Mapping[str, Any]) -> tuple[Any, ...]:
    """What a mix of two indexes would show: names, ids and scores."""
    hits = [
        (hit["id"], round(hit["score"], 5))
        for instance in answer["instances"]
        for hit in instance["hits"]
    ]
    return answer["collection"], answer["bundle"], tuple(hits)


def test_a_rollback_of_one_process_under_queries_of_another_mixes_nothing(
    world: tuple[Workspace, Receipt, Receipt],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    workspace, old, new = world
    monkeypatch.chdir(workspace.root)
    truth = set()
    for receipt in (old, new):
        with ProductSearch(
            workspace.bundles, str(workspace.milvus), receipt.collection, threads=1
        ) as search:
            truth.add(essence(search(**QUERY).to_dict()))  # type: ignore[arg-type]
    seen: set[tuple[Any, ...]] = set()
    faults: list[str] = []
    ended = False

    def ask(url: str) -> None:
        with httpx.Client(base_url=url, timeout=30, trust_env=False) as client:
            while not ended:
                response = client.post("/search", json=QUERY)
                if response.status_code == 200:
                    seen.add(essence(response.json()))
                else:
                    faults.append(response.text)
                time.sleep(0.01)

    def served(url: str, collection: str) -> None:
        with httpx.Client(base_url=url, timeout=30, trust_env=False) as client:
            until(lambda: faults or client.get("/readyz").json()["collection"] == collection)
        assert not faults

    def rollback(*version: str) -> str:
        with pytest.raises(SystemExit) as ended:
            main(["rollback", *version])
        assert ended.value.code in (0, None)
        return capsys.readouterr().out.split()[-1]

    with lite_server(workspace.milvus) as uri:
        monkeypatch.setenv("MILVUS_URI", uri)
        with serving(workspace, "--poll", "0.1") as (url, _), ThreadPoolExecutor(2) as pool:
            served(url, new.collection)
            clients = [pool.submit(ask, url) for _ in range(2)]
            try:
                for version in (None, new.bundle, old.collection):
                    now = rollback(*([version] if version else []))
                    served(url, now)
                    # What plain pymilvus reaches by the alias is the same index.
                    plain = MilvusClient(uri)
                    assert plain.describe_alias("products")["collection_name"] == now
                    plain.close()
            finally:
                ended = True
            for client in clients:
                client.result()
    assert not faults
    assert seen == truth


def test_the_documented_way_back_works(
    world: tuple[Workspace, Receipt, Receipt], monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace, old, new = world
    monkeypatch.chdir(workspace.root)
    with Database(str(workspace.milvus)) as database:
        database.promote(old.collection)
        database.promote(new.collection)
    for program, *arguments in commands("operations.md", "Rollback"):
        assert program == "unbundle"
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert ended.value.code in (0, None)
    with Database(str(workspace.milvus)) as database:
        assert database.target("products") == old.collection
