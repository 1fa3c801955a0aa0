"""Small catalogue folders for tests: real files, photos that differ."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

HEADER = ("id", "image", "caption", "labels", "split", "kind", "boxes")


def write_photo(path: Path, seed: int, width: int = 64, height: int = 48) -> None:
    """Write a photo of blurred colours; other seeds look otherwise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    colours = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), np.uint8)
    Image.fromarray(colours).resize((width, height), Image.Resampling.BICUBIC).save(path)


def write_table(folder: Path, rows: Sequence[Mapping[str, str]]) -> None:
    """Write `catalogue.csv`; columns are those of the format, then those that rows add."""
    folder.mkdir(parents=True, exist_ok=True)
    extra = [column for row in rows for column in row if column not in HEADER]
    with (folder / "catalogue.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, [*HEADER, *dict.fromkeys(extra)], restval="")
        writer.writeheader()
        writer.writerows(rows)


def small_catalogue(folder: Path) -> list[dict[str, str]]:
    """Write the photos of a clean catalogue of eight rows and return its rows."""
    splits = ["train"] * 4 + ["gallery"] * 2 + ["dev", "test"]
    rows = []
    for number, split in enumerate(splits):
        row = {"id": f"p{number}", "image": f"images/p{number}.png", "split": split}
        row |= {"caption": f"面霜 {number}", "kind": "single" if number < 6 else "multi"}
        if split == "gallery":
            row["labels"] = f"label {number}"
        if split in ("dev", "test"):
            row |= {"labels": "label 4#;#label 5", "boxes": "[[0, 0, 30, 48], [30, 0, 64, 48]]"}
        write_photo(folder / row["image"], number)
        rows.append(row)
    return rows
