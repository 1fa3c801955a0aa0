"""Automations on a real server: drift starts `retrain`, a failure reaches a webhook."""

import json
import os
import queue
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import httpx
import pytest

from tasks.base.workspace import Workspace
from tasks.data.manifest import read_manifest
from tasks.evaluation.queries import read_queries
from tasks.index.ingestion_receipt import Receipt
from tasks.ingest import ingest
from tasks.monitoring.champion_profile import keep_profile
from tests.support.documented_commands import commands
from tests.support.evaluated_catalogue import tiny_params, write_world
from tests.support.waiting import listens, until
from unbundle.index.milvus_database import Database
from unbundle.query.search import ProductSearch

REPOSITORY = Path(__file__).parents[3]
APPLY = """
from flows.retrain import retrain
from flows.prefect.automations import apply_automations
from unbundle.base.errors import UserError
import sys
try:
    apply_automations(None)
except UserError as error:
    print(error)
retrain.to_deployment(name="retrain").apply()
for _ in range(2):
    print(apply_automations(sys.argv[1]))
"""


@contextmanager
def prefect_server(home: Path) -> Iterator[dict[str, str]]:
    """A Prefect server on loopback with every service: the environment that names it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {name: value for name, value in os.environ.items() if "PREFECT" not in name}
    environment |= {
        "PREFECT_HOME": str(home),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "PYTHONPATH": str(REPOSITORY),
    }
    command = [sys.executable, "-m", "prefect", "server", "start", "--port", str(port)]
    with (home / "server.log").open("w") as log:
        process = subprocess.Popen(
            [*command, "--host", "127.0.0.1"], env=environment, stdout=log, stderr=log
        )
        try:
            until(lambda: process.poll() is not None or listens(port), pause=0.2)
            assert httpx.get(f"{environment['PREFECT_API_URL']}/health", trust_env=False)
            yield environment
        finally:
            process.terminate()
            process.wait(60)


@contextmanager
def chat() -> Iterator[tuple[str, "queue.Queue[str]"]]:
    """A webhook on loopback: its address, and what it gets."""
    got: queue.Queue[str] = queue.Queue()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            got.put(json.loads(body)["text"])
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing is printed."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/hook", got
        server.shutdown()


@pytest.fixture(scope="module")
def drifted(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A champion whose catalogue got other titles since it was judged."""
    workspace = write_world(tmp_path_factory.mktemp("world"))
    params = tiny_params(workspace.root)
    ingest(workspace, params)
    receipt = Receipt.read(workspace.receipt)
    with ProductSearch(workspace.bundle, str(workspace.milvus), receipt.collection) as search:
        keep_profile(search, workspace, read_queries(workspace, params), params.watch)
    workspace.bundle.rename(workspace.bundles.parent / receipt.bundle)
    workspace.bundles.mkdir()
    (workspace.bundles.parent / receipt.bundle).rename(workspace.bundles / receipt.bundle)
    with Database(str(workspace.milvus)) as database:
        database.promote(receipt.collection)
    manifest = read_manifest(workspace.manifest)
    manifest["caption"] = "увлажняющий крем для лица"
    manifest.to_parquet(workspace.manifest)
    return workspace


def run(arguments: list[str], folder: Path, environment: dict[str, str]) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.nights
def test_drift_starts_retrain_and_a_failure_is_told(drifted: Workspace, tmp_path: Path) -> None:
    with prefect_server(tmp_path) as environment, chat() as (webhook, got):
        api = httpx.Client(base_url=f"{environment['PREFECT_API_URL']}/", trust_env=False)
        code, told = run(["-c", APPLY, webhook], tmp_path, environment)
        assert code == 0, told
        assert "no deployment retrain; run `python -m flows.prefect.deployments`" in told
        assert api.post("automations/count", json={}).json() == 2, "applied twice, there once"
        _, command = commands("operations.md", "Drift")
        code, told = run(command[1:], drifted.root, environment)
        assert code == 0, told
        assert "watch: Drifted: products_" in told
        assert "catalogue: titles in other" in told or "characters of a title" in told
        wanted = {"deployments": {"name": {"any_": ["retrain"]}}}
        runs = until(lambda: api.post("flow_runs/filter", json=wanted).json(), pause=0.2)
        assert runs[0]["state"]["name"] in ("Scheduled", "Late")
        artifacts = api.post("artifacts/filter", json={}).json()
        assert {"drift", "drift-report", "watch-drift"} <= {one["key"] for one in artifacts}
        empty = tmp_path / "empty"
        empty.mkdir()
        code, told = run(["-m", "flows.watch"], empty, environment)
        assert code == 1, told
        message = got.get(timeout=60)
        assert message.startswith("unbundle\nwatch: Failed: params.yaml: no such file")
        api.close()
