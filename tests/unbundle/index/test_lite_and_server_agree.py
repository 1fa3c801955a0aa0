"""Milvus Lite and a Milvus server give the same answers and refuse with the same words."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import milvus_server
from tests.support import milvus_operations as milvus_walk
from unbundle.index.milvus_database import Database

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def lite(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("lite") / "milvus.db"
    with Database(str(folder), create=True) as database:
        return milvus_walk.walk(database)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    if reason := milvus_server.missing():
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("server")
    seen = folder / "seen.json"
    inner = [sys.executable, "-m", "tests.support.milvus_operations", str(seen)]
    command = milvus_server.command(folder / "data", inner)
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(seen.read_text(encoding="utf-8"))
    return found


@pytest.mark.parametrize("step", milvus_walk.STEPS)
def test_lite_and_server_agree(lite: dict[str, Any], server: dict[str, Any], step: str) -> None:
    assert server[step] == lite[step]


def test_a_server_approximates_and_lite_is_exact(
    lite: dict[str, Any], server: dict[str, Any]
) -> None:
    assert (lite["index"], server["index"]) == ("FLAT", "HNSW")


def test_the_walk_is_no_walk_past(lite: dict[str, Any]) -> None:
    assert [len(hits[0]) for hits in lite["filters"]] == [20, 7, 25, 3, 30, 4, 0, 0, 1]
    assert not any(text.startswith("no error") for text in lite["mistakes"])
