"""The benchmarks run and say what they measured."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from benchmarks import detection, latency, load, refresh, scale, synthetic_embeddings
from benchmarks.performance_page import write_section
from models.detector.network import Detector, DetectorConfig
from tasks.base.workspace import Workspace
from tests.support.drawn_catalogue import SCENES, Size, write_catalogue
from tests.support.served_catalogue import copied
from unbundle.encoding.model_bundle import Bundle
from unbundle.index.milvus_database import Database, Hnsw


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained detector's folder."""
    folder = tmp_path_factory.mktemp("detector")
    config = DetectorConfig(image_size=64, head_width=8, depths=(1, 1, 1))
    Detector(config).save_pretrained(folder)
    return folder


def test_the_detection_table_has_a_row_for_every_scene(
    detector: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few = Size(products=4, train_single=0, train_multi=0, gallery_per_product=0, dev=8, side=64)
    write_catalogue(tmp_path / "small", 1, few)
    page = tmp_path / "travel.md"
    options = [f"--detector={detector}", f"--catalogue=small={tmp_path / 'small'}", "--style=8"]
    detection.main([*options, f"--write={page}"])
    text = page.read_text(encoding="utf-8")
    assert text.strip() in capsys.readouterr().out
    for scene in ("all", *SCENES):
        for name in ("small", detection.STYLE):
            assert f"| {name} | {scene} | " in text


def test_the_load_mixes_and_loses_nothing(
    served: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = copied(served, tmp_path / "world").root / "data"
    page = tmp_path / "performance.md"
    page.write_text("# Performance\n\n<!-- load:begin -->\nold\n<!-- load:end -->\n\nrest\n")
    capsys.readouterr()
    load.main([f"--data={data}", "--clients=4", "--seconds=1", f"--page={page}"])
    section = capsys.readouterr().out.strip()
    head, tail = "# Performance\n\n<!-- load:begin -->\n", "\n<!-- load:end -->\n\nrest\n"
    assert page.read_text(encoding="utf-8") == f"{head}{section}{tail}"
    cells = [line.split(" | ") for line in section.splitlines()]
    counts = {row[0].strip("| "): row[1].strip(" |") for row in cells if len(row) > 1}
    assert not [status for status in counts if status.isdecimal() and status not in ("200", "503")]
    assert "no answer" not in counts
    assert counts["a mix of both"] == "0"
    assert int(counts["the champion"].replace(",", "")) > 0
    assert "resident memory, MB" in counts


def test_an_answer_that_contradicts_itself_is_seen(tmp_path: Path) -> None:
    asked = [load.Asked(0, 1, 200, source) for source in ("champion", "mixed", "candidate")]
    asked += [
        load.Asked(3, 1, 200, "champion"),
        load.Asked(0, 0.1, 503, ""),
        load.Asked(0, 9, 0, ""),
    ]
    text = load.report(asked, [100.0, 200.0], clients=2, seconds=4, at=2)
    for line in (
        *("| 200 | 4 | 1,000 | 1,000 |", "| 503 | 1 | 100 | 100 |", "| no answer | 1 | - | - |"),
        *("| a mix of both | 1 |", "came 2.0 s after it", "At most 200 MB; 1.0 answers a second."),
    ):
        assert line in text


def test_a_page_without_a_section_gets_it(tmp_path: Path) -> None:
    page = tmp_path / "performance.md"
    for name, text in (("a", "one"), ("b", "two"), ("a", "three")):
        write_section(name, text, page)
    a, b = "<!-- a:begin -->\nthree\n<!-- a:end -->", "<!-- b:begin -->\ntwo\n<!-- b:end -->"
    assert page.read_text(encoding="utf-8") == f"# Performance\n\n{a}\n\n{b}\n"


def test_a_size_is_filled_and_asked_and_an_interrupted_fill_goes_on(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (synthetic_embeddings, scale):
        monkeypatch.setattr(module, "CHUNK", 200)
    monkeypatch.setattr(scale, "COMPARED", 200)
    monkeypatch.setattr(scale, "QUERIES", 40)
    settings = Bundle.open(tiny_bundle).embedding
    task = scale.Task(str(tmp_path / "milvus.db"), 400, 100, settings, Hnsw())
    first = scale.fill(task)
    with Database(task.uri) as database:
        gallery = database.gallery(task.name)
        assert gallery.count() == 400
        database.client.delete(task.name, ids=[f"p{row:08d}" for row in range(250, 400)])
    again = scale.fill(task)
    assert (first["queries"] == again["queries"]).all()
    assert first["truth"] == again["truth"]
    answered = scale.ask(task, again["queries"], again["truth"])
    assert answered["recall"] == 1.0
    values = first | answered | {"rows": 400, "dimension": 36, "batch": 100}
    one = scale.Measured(**{field.name: values[field.name] for field in fields(scale.Measured)})
    assert "| Lite " in scale.table([one])
    assert "| 400 | exact | 1 |" in scale.table([one])


def test_the_refresh_table_has_a_row_for_every_size(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "refresh.md"
    refresh.main(["--products=12", "--repeats=1", f"--page={page}"])
    (row,) = re.findall(r"^\| 12 \|.*", page.read_text(encoding="utf-8"), re.M)
    assert row in capsys.readouterr().out
    assert len(re.findall(r"[\d.]+ s", row)) == 4


def test_latency_takes_turns_and_says_its_ratios() -> None:
    turns: list[str] = []
    arms = {name: lambda name=name: turns.append(name) for name in ("a", "b")}
    assert set(latency.medians(arms, repetitions=2)) == {"a", "b"}
    assert turns == ["a", "b"] * 3  # the first round is not timed
    whole = {f"{arm} {count}": 10.0 for arm in ("torch", "fp32", "int8") for count in (1, 4)}
    parts = {
        f"{arm} {part}": 1.0
        for arm in ("torch", "fp32", "int8")
        for part in ("detector", "backbone", "CAPTURE")
    }
    text = latency.table({**whole, "CLIP": 55.0}, parts, threads=2, repetitions=3)
    assert "CLIP to int8 5.5" in text
    assert "takes 1.50 times" in latency.query_table(
        {"query": 30.0, "networks": 15.0, "index": 5.0}, 1000, 3
    )
