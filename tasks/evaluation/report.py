"""The report beside the metrics: figures by query, misses, curves, pictures of answers."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.table import Table

from tasks.base.params import DEPTH, Evaluate, Params
from tasks.base.plot_curves import Curves, draw_curves, write_curves
from tasks.base.progress import console
from tasks.base.workspace import Workspace
from tasks.data.splits import spread
from tasks.evaluation.contact_sheet import HITS, Card, draw_sheet
from tasks.evaluation.queries import LabelledQueries, Retrieved
from tasks.evaluation.retrieval_figures import Rankings, Scores
from tasks.metrics.miss_causes import Miss
from tasks.metrics.ranking import Corrected, coverage_by_depth
from unbundle.base.atomic import atomic_folder
from unbundle.index.gallery_collection import Rows

QUERY_TABLE = "queries.parquet"
"""A row a query: id, labels, `mAP@K` and `coverage@K` of every K, `slice: …` membership."""

SLICE = "slice: "

COVERAGE = "coverage.csv"
"""Instance coverage of CAPTURE and of the baselines at every K."""

RELIABILITY = "reliability.csv"
"""Share of products in the catalogue by open-set score; without rows where there is no score."""


def write_report(
    workspace: Workspace,
    queries: LabelledQueries,
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
        (scores.corrected.average_precision[DEPTH], scores.corrected.coverage[DEPTH])
    )
    places = {
        "answers.jpg": spread(len(queries.labels), params.pictures),
        "worst.jpg": worst_first[: params.pictures].tolist(),
    }
    images = {hit.id: queries.folder / hit.image for hit in rows.hits}
    with atomic_folder(workspace.retrieval_report) as folder:
        query_table(queries, scores).to_parquet(folder / QUERY_TABLE, index=False)
        table = pd.DataFrame([asdict(miss) for miss in misses], columns=["query", "label", "cause"])
        table.to_csv(folder / "misses.csv", index=False)
        for name, panel in curves.items():
            write_curves(folder / name, panel.columns)
        draw_curves(folder / "curves.png", list(curves.values()))
        (folder / "timing.json").write_text(json.dumps(_timing(found.milliseconds), indent=2))
        for name, shown in places.items():
            draw_sheet(folder / name, [_card(place, queries, found, images) for place in shown])


def query_table(queries: LabelledQueries, scores: Scores) -> pd.DataFrame:
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


def _card(
    place: int, queries: LabelledQueries, found: Retrieved, images: Mapping[str, Path]
) -> Card:
    query, ranking = queries.rows[place], found.rankings[place]
    return Card(
        photo=query.photo,
        boxes=ranking.encoded.boxes,
        hits=[
            [(images[item], queries.gallery.get(item) in query.labels) for item in ids[:HITS]]
            for ids in ranking.rankings
        ],
    )


def coverage_curves(
    systems: Mapping[str, Rankings], queries: LabelledQueries, depth: int
) -> Curves:
    """Instance coverage of each system at every K; DVC's plots name no field with a space."""
    columns: dict[str, Sequence[float]] = {"k": range(1, depth + 1)}
    for name, ranked in systems.items():
        curve = coverage_by_depth(ranked, queries.labels, queries.gallery, depth)
        columns[name.replace(" ", "_")] = curve.tolist()
    return Curves("instance coverage by depth", columns)


def reliability_curve(known: Mapping[str, Any] | None) -> Curves:
    """Share of products that are in the catalogue, by bin of the open-set score."""
    bins = known["reliability"] if known else []
    columns = {name: [row[name] for row in bins] for name in ("probability", "known")}
    return Curves("is it in the catalogue", columns, diagonal=True)


def print_table(scores: Scores, title: str, params: Params) -> None:
    """Print mAP and coverage at `DEPTH`, and the baselines' below."""
    table = Table(f"{title}, 95 % intervals", f"mAP@{DEPTH}", f"coverage@{DEPTH}")

    def row(name: str, values: Corrected) -> None:
        summary = values.summary(DEPTH, params.evaluate.resamples, params.seed)
        cells = ("{mean:.3f} ({low:.3f} to {high:.3f})".format(**summary[key]) for key in summary)
        table.add_row(name, *cells)

    row("CAPTURE", scores.corrected)
    for name, values in scores.baselines.items():
        row(f"baseline: {name}", values)
    console.print(table)
