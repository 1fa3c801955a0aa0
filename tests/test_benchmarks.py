"""The benchmarks run and say what they measured."""

import re
from pathlib import Path

import pytest
from styles import SCENES, Size, write_catalogue

from benchmarks import detection, refresh
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


def test_the_refresh_table_has_a_row_for_every_size(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "refresh.md"
    refresh.main(["--products=12", "--repeats=1", f"--write={page}"])
    text = page.read_text(encoding="utf-8")
    assert text.strip() in capsys.readouterr().out
    (row,) = re.findall(r"^\| 12 \|.*", text, re.M)
    assert len(re.findall(r"[\d.]+ s", row)) == 4
