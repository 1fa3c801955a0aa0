"""What docs/clients.md and docs/serving.md tell to run, run; and the names they rest on."""

import dataclasses
import inspect
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import sync_playwright

import unbundle
from tasks.base.workspace import Workspace
from tests.support.served_catalogue import service
from tests.support.tiny_model_bundle import scene, write_photo
from tests.support.waiting import listens, until
from unbundle.base.request_limits import Limits
from unbundle.cli import main

DOCS = Path(__file__).parents[3] / "docs"
PAGES = ("clients.md", "serving.md")


def blocks(language: str) -> list[str]:
    """Every fenced block in a language."""
    return [
        block
        for page in PAGES
        for block in re.findall(
            rf"```{language}\n(.*?)```", (DOCS / page).read_text(encoding="utf-8"), re.S
        )
    ]


CHANGES = [block for block in blocks("sh") if "API_KEY" in block]
"""These need a world of their own: tests/unbundle/http/test_product_routes.py."""
CURL = [block for block in blocks("sh") if "curl" in block and block not in CHANGES]
LITE = [block for block in blocks("sh") if "milvus-lite server" in block]
SHARED = [block for block in blocks("sh") if "MILVUS_URI=" in block]
SHELL = [
    line.split("  #")[0].strip()
    for block in blocks("sh")
    for line in block.splitlines()
    if block not in (*CHANGES, *CURL, *LITE, *SHARED) and line != "unbundle serve"
]


@pytest.fixture(scope="module")
def here(served: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the served world, with the photo that the pages speak of."""
    root = tmp_path_factory.mktemp("clients")
    shutil.copytree(served.root, root, dirs_exist_ok=True)
    write_photo(root / "photo.jpg", scene([3, 1, 5]))
    return root


def run(folder: Path, *command: str) -> str:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_every_block_is_run_by_a_test_below() -> None:
    text = "".join((DOCS / page).read_text(encoding="utf-8") for page in PAGES)
    # A console block needs a container engine, which neither CI nor we have.
    languages = set(re.findall(r"```([a-z]+)\n", text))
    assert languages == {"sh", "python", "js", "json", "console"}
    assert (len(LITE), len(SHARED), len(blocks("js"))) == (1, 1, 1)
    assert (len(CURL), len(CHANGES)) == (8, 1)


@pytest.mark.parametrize("command", SHELL)
def test_a_command_runs(here: Path, command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(here)
    program, *arguments = shlex.split(command)
    assert program == "unbundle"
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert not ended.value.code


@pytest.mark.parametrize("snippet", blocks("python"))
def test_a_snippet_runs(here: Path, snippet: str) -> None:
    assert "product" in run(here, sys.executable, "-c", snippet)


def test_the_requests_are_answered(here: Path) -> None:
    with service(here / "data/bundles", here / "data/milvus.db", Limits(poll=60)) as running:
        for command in CURL:
            script = command.replace("http://127.0.0.1:8000", running.url)
            script = script.replace("curl -sS", "curl -sS --fail --noproxy '*'")
            assert '"hits"' in run(here, "bash", "-euc", script)


def test_a_page_gets_its_answer(here: Path) -> None:
    (script,) = blocks("js")
    program = """async ([script, name]) => {
      const photo = document.querySelector("input").files[0];
      return await new Function("photo", `${script}; return productsOf(photo, "red");`)(photo);
    }"""
    with (
        service(here / "data/bundles", here / "data/milvus.db", Limits(poll=60)) as running,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        page = browser.new_page()
        page.goto(f"{running.url}/healthz")
        page.evaluate("document.body.innerHTML = '<input type=file>'")
        page.set_input_files("input", here / "photo.jpg")
        found = page.evaluate(program, [script, "photo.jpg"])
        browser.close()
    assert {seen["product"] for seen in found} == {"product-3", "product-1", "product-5"}


@pytest.fixture
def shared(here: Path) -> Iterator[str]:
    """The documented Milvus Lite server, on a free port: its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    command = LITE[0].replace("19530", port).split()
    command[0] = str(Path(sys.executable).parent / command[0])
    process = subprocess.Popen(command, cwd=here, stdout=subprocess.DEVNULL)
    try:
        until(lambda: process.poll() is not None or listens(int(port)))
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(30)


def test_a_lite_folder_is_shared(here: Path, shared: str) -> None:
    out = run(here, "bash", "-euc", SHARED[0].replace("127.0.0.1:19530", shared))
    assert "products: products_" in out


PUBLIC = {
    "Answer": ["instances", "collection", "bundle", "parts=None"],
    "Answer.to_dict": [],
    "Duplicate": ["first", "second", "score"],
    "Hit": ["id", "label", "score", "caption", "image", "fields={}", "inliers=None"],
    "Instance": ["box", "score", "hits", "known=None", "in_catalogue=True", "words=()"],
    "Part": ["instance", "id", "product", "price"],
    "Parts": ["items", "unknown", "total", "bundle_price", "saving"],
    "ProductSearch": [
        *("bundle='data/bundles'", "uri=None", "alias='products'", "token=None", "threads=0"),
    ],
    "ProductSearch.__call__": [
        *("photo=None", "caption=''", "k=10", "boxes=None", "filters=None", "bundle_price=None"),
        *("min_score=None", "offset=0"),
    ],
    "ProductSearch.ask": ["question", "observer=Observer()"],
    "ProductSearch.batch": ["questions", "observer=Observer()"],
    "ProductSearch.close": [],
    "ProductSearch.duplicates": ["threshold"],
    "ProductSearch.product": ["identifier"],
    "ProductSearch.rank": ["photo", "caption=''", "depth=100", "without=()"],
    "ProductSearch.similar": ["identifier", "k=10"],
    "Question": [
        *("photo=None", "caption=''", "k=10", "boxes=None", "filters=None", "bundle_price=None"),
        *("min_score=None", "offset=0"),
    ],
    "Question.check": [],
    "Range": ["min=None", "max=None"],
    "UserError": [],
}


def test_the_public_names_are_pinned() -> None:
    found: dict[str, list[str]] = {}
    for name in unbundle.__all__:
        value = getattr(unbundle, name)
        assert value.__name__ == name
        found[name] = [] if issubclass(value, Exception) else parameters(value)
        for method, member in vars(value).items():
            public = not method.startswith("_") or method == "__call__"
            if name != "Range" and public and inspect.isfunction(member):
                found[f"{name}.{method}"] = parameters(member)
    assert found == PUBLIC
    assert list(unbundle.__all__) == sorted(unbundle.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = unbundle.Nothing


def parameters(value: Any) -> list[str]:
    if dataclasses.is_dataclass(value):
        return [f"{field.name}{default(field)}" for field in dataclasses.fields(value)]
    signature = inspect.signature(value).parameters.values()
    return [
        parameter.name + ("" if parameter.default is parameter.empty else f"={parameter.default!r}")
        for parameter in signature
        if parameter.name != "self"
    ]


def default(field: "dataclasses.Field[Any]") -> str:
    if field.default_factory is not dataclasses.MISSING:
        return f"={field.default_factory()!r}"
    return "" if field.default is dataclasses.MISSING else f"={field.default!r}"
