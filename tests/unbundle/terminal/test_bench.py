import json
from pathlib import Path
from typing import get_args

import pytest

from tasks.base.workspace import Workspace
from tests.support.tiny_model_bundle import scene, write_photo
from unbundle import UserError
from unbundle.cli import main
from unbundle.encoding.query_observer import SpanName
from unbundle.terminal.bench import PARTS, read_queries

TABLE = "id,image,caption,split\na,images/g0-0.png,red,train\nb,images/q.png,,test\n"


@pytest.fixture
def here(served: Workspace, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(served.root)
    return served.root


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["bench", *arguments])
    code = ended.value.code
    return code if isinstance(code, int) else 0


def test_every_part_of_every_load_is_measured(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("data/catalogue/images", "--title", "red", "--queries", "6", "--threads", "1")
    assert run(*options, "--clients", "1", "--clients", "3", "--json") == 0
    loads = json.loads(capsys.readouterr().out)
    assert [(load["clients"], load["queries"]) for load in loads] == [(1, 6), (3, 6)]
    for load in loads:
        assert tuple(load["parts"]) == PARTS
        assert load["per_second"] > 0
        for spread in (load["whole"], *load["parts"].values()):
            assert 0 < spread["p50"] <= spread["p99"]
        assert all(part["p50"] <= load["whole"]["p99"] for part in load["parts"].values())
    assert run(*options, "--clients", "2") == 0
    out = capsys.readouterr().out
    assert all(part in out for part in (*PARTS, "clients: 2, queries: 6", "queries a second"))


def test_every_span_is_a_part() -> None:
    assert {*get_args(SpanName), "rest"} == set(PARTS)


def test_the_queries_of_a_catalogue_come_with_their_titles(tmp_path: Path) -> None:
    (tmp_path / "catalogue.csv").write_text(TABLE, encoding="utf-8")
    assert read_queries(tmp_path, "a title") == [(tmp_path / "images/q.png", "a title")]
    (tmp_path / "catalogue.csv").write_text(TABLE.replace("test", "gallery"), encoding="utf-8")
    assert [title for _, title in read_queries(tmp_path, "a title")] == ["red", "a title"]


def test_a_folder_of_images_is_enough(tmp_path: Path) -> None:
    photo = write_photo(tmp_path / "deep/photo.PNG", scene([1]))
    (tmp_path / "note.txt").touch()
    assert read_queries(tmp_path, "") == [(photo, "")]
    with pytest.raises(UserError, match="deeper: no photos; give a folder"):
        read_queries(tmp_path / "deeper", "")


def test_a_broken_photo_ends_it_in_one_line(
    here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "photo.png").write_bytes(b"")
    assert run(str(tmp_path)) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"error: {tmp_path}/photo.png: not a readable image")
    assert error.count("\n") == 1
