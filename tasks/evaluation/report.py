"""What people look at beside the metrics: figures by query, misses, pictures of answers."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw

from tasks.base.curves import Curves, draw_curves, write_curves
from tasks.base.params import Evaluate
from tasks.base.workspace import Workspace
from tasks.evaluation.queries import Queries, Retrieved
from tasks.evaluation.scores import Scores
from tasks.metrics.misses import Miss
from unbundle.base.atomic import atomic_file, atomic_folder
from unbundle.index.gallery import Rows
from unbundle.vision.boxes import Boxes
from unbundle.vision.imaging import open_photo

QUERY_TABLE = "queries.parquet"
"""A row a query: id, labels, `mAP@K` and `coverage@K` of every K, `slice: …` membership."""

SLICE = "slice: "

COVERAGE = "coverage.csv"
"""Instance coverage of CAPTURE and of the baselines at every K."""

RELIABILITY = "reliability.csv"
"""Share of products in the catalogue by the probability that was told; empty without one."""

_SIDE = 264  # pixels of a query's photo
_THUMBNAIL = 61
_GAP = 6
_HITS = 5  # per instance
_INSTANCES = 4  # rows beside a photo
_COLUMNS = 2  # queries side by side
_RIGHT, _WRONG, _BOX = (0, 150, 70), (200, 40, 40), (30, 110, 220)


@dataclass(frozen=True)
class Card:
    """One answered query.

    Attributes:
        photo: its path.
        boxes: the detector's `[N, 4]` in pixels of the upright photo, best first.
        hits: per instance the photos of what it found, best first, and whether each is right.
    """

    photo: Path
    boxes: Boxes
    hits: Sequence[Sequence[tuple[Path, bool]]]


def write_report(
    workspace: Workspace,
    queries: Queries,
    found: Retrieved,
    rows: Rows,
    misses: Sequence[Miss],
    scores: Scores,
    curves: Mapping[str, Curves],
    params: Evaluate,
) -> None:
    """Fill `reports/retrieval/`: `queries.parquet`, `misses.csv`, `timing.json`, two sheets.

    `answers.jpg` shows queries from the whole split, `worst.jpg` those of lowest coverage and AP.
    The curves are there as CSV for DVC's plots, and as `curves.png` for people.
    """
    worst_first = np.lexsort(
        (scores.corrected.average_precision[params.ks[0]], scores.corrected.coverage[params.ks[0]])
    )
    count = min(params.pictures, len(queries.labels))
    spread = np.linspace(0, len(queries.labels) - 1, count).astype(int)
    images = {hit.id: queries.folder / hit.image for hit in rows.hits}
    with atomic_folder(workspace.retrieval_report) as folder:
        query_table(queries, scores).to_parquet(folder / QUERY_TABLE, index=False)
        table = pd.DataFrame([asdict(miss) for miss in misses], columns=["query", "label", "cause"])
        table.to_csv(folder / "misses.csv", index=False)
        for name, panel in curves.items():
            write_curves(folder / name, panel.columns)
        draw_curves(folder / "curves.png", list(curves.values()))
        (folder / "timing.json").write_text(json.dumps(_timing(found.milliseconds), indent=2))
        for name, places in (("answers.jpg", spread), ("worst.jpg", worst_first[:count])):
            cards = [_card(int(place), queries, found, images) for place in places]
            draw_sheet(folder / name, cards)


def query_table(queries: Queries, scores: Scores) -> pd.DataFrame:
    """The figures of every query, in the order they were asked."""
    values = scores.corrected
    columns: dict[str, object] = {"id": queries.frame["id"], "labels": queries.frame["labels"]}
    columns |= {f"mAP@{k}": column for k, column in values.average_precision.items()}
    columns |= {f"coverage@{k}": column for k, column in values.coverage.items()}
    columns |= {f"{SLICE}{name}": members for name, members in scores.slices.items()}
    return pd.DataFrame(columns)


def _timing(milliseconds: Sequence[float]) -> dict[str, float]:
    # Times differ from run to run, so they stay out of the metrics.
    return {
        "queries": len(milliseconds),
        "median_ms": float(np.median(milliseconds)),
        "p95_ms": float(np.percentile(milliseconds, 95)),
    }


def _card(place: int, queries: Queries, found: Retrieved, images: Mapping[str, Path]) -> Card:
    query, ranking = queries.rows[place], found.rankings[place]
    return Card(
        photo=query.photo,
        boxes=ranking.encoded.boxes,
        hits=[
            [(images[item], queries.gallery.get(item) in query.labels) for item in ids[:_HITS]]
            for ids in ranking.rankings
        ],
    )


def draw_sheet(path: Path, cards: Sequence[Card]) -> None:
    """Write a contact sheet: each photo with its boxes, beside it the first hits of each box.

    Right hits are framed green, wrong ones red; instances go from top to bottom.
    """
    width = _SIDE + _GAP + _HITS * (_THUMBNAIL + _GAP) + _GAP
    height = max(_SIDE, _INSTANCES * (_THUMBNAIL + _GAP)) + 2 * _GAP
    rows = -(-len(cards) // _COLUMNS)
    sheet = Image.new("RGB", (_COLUMNS * width + _GAP, max(1, rows) * height), "white")
    for number, card in enumerate(cards):
        row, column = divmod(number, _COLUMNS)
        _draw_card(sheet, card, _GAP + column * width, _GAP + row * height)
    with atomic_file(path) as temporary:
        sheet.save(temporary, quality=88)


def _draw_card(sheet: Image.Image, card: Card, left: int, top: int) -> None:
    pixels = open_photo(card.photo)
    factor = _SIDE / max(pixels.shape[:2])
    photo = _scaled(Image.fromarray(pixels), _SIDE)
    pen = ImageDraw.Draw(photo)
    for box in np.asarray(card.boxes, np.float64) * factor:
        pen.rectangle([float(side) for side in box], outline=_BOX, width=2)
    sheet.paste(photo, (left, top))
    for row, hits in enumerate(card.hits[:_INSTANCES]):
        for column, (path, right) in enumerate(hits[:_HITS]):
            x = left + _SIDE + _GAP + column * (_THUMBNAIL + _GAP)
            _draw_hit(sheet, path, right, x, top + row * (_THUMBNAIL + _GAP))


def _draw_hit(sheet: Image.Image, path: Path, right: bool, left: int, top: int) -> None:
    thumbnail = _scaled(Image.fromarray(open_photo(path)), _THUMBNAIL - 6)
    frame = Image.new("RGB", (_THUMBNAIL, _THUMBNAIL), _RIGHT if right else _WRONG)
    canvas = Image.new("RGB", (_THUMBNAIL - 6, _THUMBNAIL - 6), "white")
    canvas.paste(
        thumbnail, ((canvas.width - thumbnail.width) // 2, (canvas.height - thumbnail.height) // 2)
    )
    frame.paste(canvas, (3, 3))
    sheet.paste(frame, (left, top))


def _scaled(image: Image.Image, side: int) -> Image.Image:
    factor = side / max(image.size)
    size = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
    return image.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)
