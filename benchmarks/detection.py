"""How well a detector travels: precision by data set and scene, and bundles of one seen as one.

Every data set is a catalogue folder. Its dev and test queries with boxes are measured, by the
carried column `scene` where there is one, else by how many products they show; queries of one
product are counted without boxes, too. The third style (`tests/support/drawn_catalogue`) is drawn
for the occasion.

- `ap50`, `ap75`, `recall50`, `right_count`: see `tasks.metrics.detection`.
- `alone`: all queries of one product, with or without boxes; `seen_as_one`: the share of them with
  exactly one proposal.

    python -m benchmarks.detection --detector artifacts/detector --catalogue demo=data/catalogue \
        --catalogue grocery=../shared/datasets/grocery --write reports/detection/travel.md
"""

import argparse
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from models.detector.network import Detector
from models.onnx.export import export_image_network
from tasks.base.params import Detect, load_params
from tasks.data.catalogue_table import QUERIES, TABLE, parse_boxes, parse_labels, read_rows
from tasks.data.splits import rows_of
from tasks.detection.run_detector import MATCH_FLOOR, Sighting, sightings
from tasks.metrics.detection import Scene, summarise
from tests.support.drawn_catalogue import Size, write_catalogue
from unbundle.base.atomic import atomic_file
from unbundle.base.onnx_session import open_session
from unbundle.vision.boxes import Boxes
from unbundle.vision.proposals import select_proposals

STYLE = "third style"

COLUMNS = ("photos", "boxes", "ap50", "ap75", "recall50", "right_count", "alone", "seen_as_one")


@dataclass(frozen=True)
class Query:
    """A photo: its image in the catalogue, scene, number of products and boxes `[N, 4]` or none."""

    image: str
    scene: str
    products: int
    truth: Boxes


def queries(catalogue: Path) -> list[Query]:
    """The queries of a catalogue that have boxes or show one product."""
    rows = read_rows(catalogue / TABLE)
    found = []
    for row in rows_of(rows, *QUERIES).to_dict("records"):
        truth = np.asarray(parse_boxes(row["boxes"]) or [], np.float32).reshape(-1, 4)
        products = len(parse_labels(row["labels"]))
        scene = row.get("scene") or ("one product" if products == 1 else "several")
        if len(truth) or products == 1:
            found.append(Query(row["image"], scene, products, truth))
    return found


def measure(
    detector: Detector, catalogue: Path, asked: Sequence[Query], settings: Detect
) -> dict[str, dict[str, float]]:
    """Figures of each scene and of `all`."""
    scenes: dict[str, tuple[list[Scene], list[Scene]]] = {"all": ([], [])}
    alone: dict[str, list[bool]] = {}
    images = [query.image for query in asked]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "detector.onnx"
        export_image_network(detector, path, "image", settings.image_size, ["boxes", "scores"])
        session = open_session(path, None, spinning=True, accelerated=True)
    for query, seen in zip(asked, sightings(catalogue, images, session, settings), strict=True):
        limits = settings.proposals.model_dump()
        served = _scene(seen, query.truth, limits)
        limits |= {"min_score": MATCH_FLOOR, "max_proposals": len(seen.scores)}
        ranked = _scene(seen, query.truth, limits)
        for name in ("all", query.scene):
            if query.products == 1:
                alone.setdefault(name, []).append(len(served.boxes) == 1)
            pair = scenes.setdefault(name, ([], []))
            if len(query.truth):
                pair[0].append(ranked)
                pair[1].append(served)
    figures = {name: summarise(*pair) for name, pair in scenes.items()}
    for name, ones in alone.items():
        figures[name] |= {"alone": len(ones), "seen_as_one": float(np.mean(ones))}
    return figures


def _scene(seen: Sighting, truth: Boxes, limits: dict[str, Any]) -> Scene:
    height, width = seen.photo.shape[:2]
    found = select_proposals(seen.boxes, seen.scores, seen.factor, width, height, **limits)
    return Scene(*found, truth)


def table(results: Mapping[str, Mapping[str, Mapping[str, float]]]) -> str:
    """A markdown table: one row per data set and scene."""
    lines = [
        "| data set | scene | " + " | ".join(COLUMNS) + " |",
        "| --- " * (2 + len(COLUMNS)) + "|",
    ]
    for name, scenes in results.items():
        for scene, figures in scenes.items():
            cells = [_cell(figures.get(column)) for column in COLUMNS]
            lines.append(f"| {name} | {scene} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _cell(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}".replace("0.", ".", 1) if isinstance(value, float) else str(value)


def _catalogues(options: argparse.Namespace, scratch: Path) -> Iterator[tuple[str, Path]]:
    for given in options.catalogue:
        name, _, path = given.rpartition("=")
        yield name or Path(path).name, Path(path)
    if options.style:
        size = Size(train_single=0, train_multi=0, gallery_per_product=0, dev=options.style)
        write_catalogue(scratch / "style", options.seed, size)
        yield STYLE, scratch / "style"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure every detector on every data set, print the tables and write them."""
    title = (__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.detection", description=title)
    parser.add_argument("--detector", type=Path, action="append", required=True)
    parser.add_argument("--catalogue", action="append", default=[], metavar="NAME=FOLDER")
    parser.add_argument("--style", type=int, default=240, help="photos of the third style; 0: none")
    parser.add_argument("--seed", type=int, default=11, help="of the third style")
    parser.add_argument("--write", type=Path, help="markdown file")
    options = parser.parse_args(arguments)
    settings = load_params().detect
    pages = []
    with tempfile.TemporaryDirectory() as scratch:
        sets = [(*one, queries(one[1])) for one in _catalogues(options, Path(scratch))]
        for folder in options.detector:
            detector = Detector.from_pretrained(folder).eval()
            seen = settings.model_copy(update={"image_size": detector.config.image_size})
            results = {name: measure(detector, path, asked, seen) for name, path, asked in sets}
            pages.append(f"### {folder}\n\n{table(results)}")
            print(pages[-1], flush=True)
    if options.write:
        with atomic_file(options.write) as path:
            path.write_text("\n".join(pages), encoding="utf-8")


if __name__ == "__main__":
    main()
