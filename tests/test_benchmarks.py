"""The benchmarks run and say what they measured."""

from pathlib import Path

import pytest
from styles import SCENES, Size, write_catalogue

from benchmarks import detection, latency
from models.detector import Detector, DetectorConfig


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
