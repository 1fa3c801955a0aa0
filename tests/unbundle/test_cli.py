import json
from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console

import unbundle.cli
from tasks.base.workspace import Workspace
from tasks.index.ingestion_receipt import Receipt
from tests.support.served_catalogue import copied
from tests.support.tiny_model_bundle import scene, write_bundle, write_photo
from unbundle.cli import main
from unbundle.index.milvus_database import Database


@pytest.fixture
def here(served: Workspace, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The served world as the current folder, so that the defaults hold."""
    monkeypatch.chdir(served.root)
    write_photo(served.root / "query.png", scene([3, 1]))
    return served.root


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    captured = capsys.readouterr()
    code = ended.value.code
    return (code if isinstance(code, int) else 0), captured.out, captured.err


def test_a_photo_is_answered(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "query", "query.png", "--title", "red", "-k", "2")
    assert code == 0
    assert "1  box" in out
    assert "2  box" in out
    assert "product-3" in out
    assert "product-1" in out


def test_json_is_the_answer_alone(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("--filter", "price=11..12", "--filter", "brand=brand-1", "--box", "1,1,31,31")
    code, out, _ = run(
        capsys, "query", "query.png", "--json", "--picture", "answer.png", *arguments
    )
    answer = json.loads(out)
    assert code == 0
    assert [hit["label"] for hit in answer["instances"][0]["hits"]] == ["product-1"]
    assert answer["instances"][0]["box"] == [1, 1, 31, 31]
    with Image.open(here / "answer.png") as picture:
        assert picture.width > 1000


def test_a_bundle_is_compared_with_its_parts(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = run(capsys, "query", "query.png", "--bundle-price", "20.5")
    assert code == 0
    rows = [line.split() for line in out.splitlines()]
    priced = sorted(row[1:] for row in rows if row[:1] in (["1"], ["2"]) and len(row) == 3)
    assert priced == [["product-1", "11.00"], ["product-3", "13.00"]]
    for row in (["all", "parts", "24.00"], ["the", "bundle", "20.50"], ["saving", "3.50"]):
        assert row in rows
    code, out, _ = run(capsys, "query", "query.png", "--filter", "brand=unknown")
    assert "without a price: 1, 2" in out


def test_pages_and_scores_cut_the_table(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capsys, "query", "query.png", "-k", "2", "--offset", "1", "--json")
    _, whole, _ = run(capsys, "query", "query.png", "-k", "3", "--json")
    for page, first in zip(*(json.loads(text)["instances"] for text in (out, whole)), strict=True):
        assert page["hits"] == first["hits"][1:]
    _, out, _ = run(capsys, "query", "query.png", "--min-score", "2")
    assert "no product passes the filters and --min-score" in out


def test_pictures_are_shown_in_the_terminal_or_in_a_file(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, out, _ = run(capsys, "query", "query.png", "--show")
    assert code == 0
    assert "picture: answer.png" in out
    with Image.open(here / "answer.png") as picture:
        assert picture.width > 1000
    terminal = Console(force_terminal=True, color_system="truecolor", width=60, highlight=False)
    monkeypatch.setattr(unbundle.cli, "console", terminal)
    (here / "answer.png").unlink()
    code, out, _ = run(capsys, "query", "query.png", "--show", "-k", "2")
    assert code == 0
    # The photo over the width, then two hits of 16 columns and 8 rows for each of two boxes.
    assert out.count("▀") == 60 * 30 + 2 * 2 * 16 * 8
    assert not (here / "answer.png").exists()
    code, out, _ = run(capsys, "query", "--title", "red", "--show", "-k", "9")
    assert out.count("▀") == 3 * 16 * 8


def test_duplicates_are_listed(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "duplicates", "0.1", "--most", "3")
    assert (code, len(out.splitlines())) == (0, 3)
    assert "more than 3 pairs; raise --most or the threshold" in err
    _, listed, _ = run(capsys, "duplicates", "0.1", "--json")
    pairs = [json.loads(line) for line in listed.splitlines()]
    first, second = pairs[0]["first"], pairs[0]["second"]
    label = f"{first['id']} ({first['label']}) = {second['id']} ({second['label']})"
    assert out.startswith(f"{pairs[0]['score']:.3f}  {label}\n")
    _, out, err = run(capsys, "duplicates", "1")
    assert (out, err) == ("", "")


def test_a_title_alone_is_answered(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "query", "--title", "red cream", "--filter", "brand=brand-0")
    assert code == 0
    assert "the title" in out
    assert "product-1" not in out


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["query"], "the query is empty: give a photo, --title or both"),
        (["query", "--title", " "], "the query is empty"),
        (["query", "nothing.png"], "nothing.png: no such file"),
        (["query", "query.png", "--box", "1,2,3"], "--box 1,2,3: expected four numbers"),
        (["query", "query.png", "--box", "1,1,99,9"], "box 1,1,99,9: expected"),
        (["query", "query.png", "--filter", "brand"], "--filter brand: expected column=value"),
        (["query", "query.png", "--filter", "shade=1"], "filter 'shade': no such column; the"),
        (["query", "query.png", "--filter", "price=cheap"], "filter 'price': the column is num"),
        (["query", "query.png", "--filter", "price=.."], "filter 'price': expected"),
        (["query", "query.png", "--filter", "price=1..2", "--filter", "price=3"], "one low..high"),
        (["query", "query.png", "-k", "0"], "k 0: expected 1 or more"),
        (["query", "query.png", "--bundle-price", "-1"], "bundle price -1.0: expected a number"),
        (["query", "query.png", "--offset", "-1"], "offset -1: expected 0 or more"),
        (["duplicates", "2"], "threshold 2: expected a number above 0, at most 1"),
        (["query", "query.png", "--picture", "a.nothing"], "a.nothing: cannot be written"),
        (["query", "query.png", "--bundle", "nowhere"], "nowhere: no bundle"),
        (["query", "query.png", "--uri", "nowhere.db"], "nowhere.db: no such Milvus database"),
        (["status", "--uri", "nowhere.db"], "nowhere.db: no such Milvus database"),
        (["rollback"], "no index before products_"),
    ],
)
def test_a_mistake_is_one_line(
    here: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], line: str
) -> None:
    code, _, err = run(capsys, *arguments)
    assert code == 1
    assert err.startswith(f"error: {line}") or line in err
    assert err.count("\n") == 1


def test_debug_shows_where_a_mistake_was_found(here: Path) -> None:
    with pytest.raises(Exception, match="the query is empty"):
        main(["query", "--debug"])


def test_status_names_what_serves(
    here: Path, served: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    receipt = Receipt.read(served.receipt)
    code, out, _ = run(capsys, "status")
    assert code == 0
    assert f"products: {receipt.collection}" in out
    assert "products_prev: nothing" in out
    assert f"bundles in data/bundles: {receipt.bundle}" in out


def test_rollback_serves_the_previous_index(
    served: Workspace,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    workspace = copied(served, tmp_path / "world")
    monkeypatch.chdir(workspace.root)
    old, new = Receipt.read(workspace.receipt), "products_0123456789ab"
    with Database(str(workspace.milvus)) as database:
        database.create_gallery(new, old.dimension, (), {"bundle": "0123456789ab"})
        database.promote(new)
    code, out, _ = run(capsys, "rollback")
    assert code == 0
    assert out.endswith(f"products: {new} → {old.collection}\n")
    # Without the bundle of the previous index, going back would stop every query.
    with Database(str(workspace.milvus)) as database:
        database.promote(new)
    (workspace.bundles / old.bundle / "bundle.json").unlink()
    code, _, err = run(capsys, "rollback")
    assert code == 1
    assert f"no bundle {old.bundle}" in err


def test_the_doctor_finds_a_whole_installation_well(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")
    code, out, _ = run(capsys, "doctor")
    assert code == 0
    assert {line.split()[0] for line in out.splitlines()} == {"ok"}


def test_the_doctor_names_what_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    code, out, _ = run(capsys, "doctor")
    assert code == 1
    assert "warn OpenMP threads spin" in out
    assert "fail data/bundles: no bundle; run `make demo`" in out
    assert "fail data/milvus.db: no such Milvus database" in out
    broken = write_bundle(tmp_path / "data/bundles/broken")
    (broken / "capture.onnx").write_bytes(b"")
    _, out, _ = run(capsys, "doctor")
    assert "fail data/bundles/broken/capture.onnx: sha256" in out


def test_commands_of_the_other_rooms_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "--help")
    assert code == 0
    for name in ("query", "status", "rollback", "doctor", "evaluate", "promote"):
        assert name in out
