"""The benchmarks run and say what they measured."""

from dataclasses import fields
from pathlib import Path

import pytest
from styles import SCENES, Size, write_catalogue

from benchmarks import detection, embeddings, scale
from benchmarks.tables import write_section
from models.detector import Detector, DetectorConfig
from serving.bundle import Bundle
from serving.database import Database, Hnsw


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained detector's folder."""
    folder = tmp_path_factory.mktemp("detector")
    config = DetectorConfig(side=64, head_width=8, depths=(1, 1, 1))
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


def test_a_section_is_replaced_and_the_rest_of_its_page_stays(tmp_path: Path) -> None:
    page = tmp_path / "performance.md"
    write_section("speed", "fast", page)
    write_section("scale", "small", page)
    write_section("speed", "faster\n", page)
    assert page.read_text(encoding="utf-8") == (
        "# Performance\n\n<!-- speed:begin -->\nfaster\n<!-- speed:end -->\n"
        "\n<!-- scale:begin -->\nsmall\n<!-- scale:end -->\n"
    )


def test_a_size_is_filled_and_asked_and_an_interrupted_fill_goes_on(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (embeddings, scale):
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
