import os
import re
import signal
import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from tasks.base.workspace import Workspace
from tests.support.served_catalogue import Upload, service, serving
from tests.support.waiting import listens, until
from unbundle.base.request_limits import Limits
from unbundle.cli import main
from unbundle.http.serve import listen

DOCS = (Path(__file__).parents[3] / "docs/serving.md").read_text(encoding="utf-8")


def test_the_command_serves_and_a_stop_loses_no_query(served: Workspace) -> None:
    with serving(served, "--k", "7", UNBUNDLE_BOXES="1") as (url, process):
        ready = httpx.get(f"{url}/readyz", timeout=30)
        assert ready.json()["status"] == "ready"
        for query in ({"caption": "red", "k": 8}, {"boxes": [[0, 0, 1, 1]] * 2}):
            refused = httpx.post(f"{url}/search", json=query)
            assert "are too many; the limit is" in refused.json()["detail"]
        port = httpx.URL(url).port or 0
        with closing(Upload(port)) as upload:
            os.kill(process, signal.SIGTERM)
            until(lambda: not listens(port))
            assert upload.send() == 200


def test_a_taken_port_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SystemExit) as ended:
            main(["serve", "--port", str(port)])
    assert ended.value.code == 1
    error = capsys.readouterr().err
    assert error.startswith(f"error: 127.0.0.1:{port}: Address already in use; give another")
    assert error.count("\n") == 1


def test_answers_leave_at_once() -> None:
    # asyncio turns Nagle's algorithm off where a socket says that it is TCP.
    with listen("127.0.0.1", 0) as listener:
        assert listener.proto == socket.IPPROTO_TCP


def test_the_documented_options_are_the_commands_own(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["serve", "--help"])
    shown = capsys.readouterr().out
    documented = set(re.findall(r"`(--[a-z-]+)`", DOCS))
    assert documented == set(re.findall(r"--[a-z][a-z-]*", shown)) - {"--help"}


def test_the_documented_figures_exist(served: Workspace) -> None:
    with service(served.bundles, served.milvus, Limits(poll=60)) as running:
        text = running.client.get("/metrics").text
    for name in re.findall(r"`((?:unbundle|process)_[a-z_]+)", DOCS):
        assert f"# HELP {name} " in text or f"# HELP {name.removesuffix('_total')}_total " in text


def test_other_commands_start_without_the_service() -> None:
    program = (
        "import sys, unbundle.cli\n"
        "heavy = {'fastapi', 'starlette', 'uvicorn', 'prometheus_client', 'numpy', 'pydantic'}\n"
        "print(*heavy.intersection(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == ""


def test_the_service_needs_no_training_package() -> None:
    program = (
        "import sys, unbundle.http.app\n"
        "print(*{'torch', 'transformers', 'onnx', 'prefect', 'dvc', 'tasks', 'models'}"
        ".intersection(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == ""
