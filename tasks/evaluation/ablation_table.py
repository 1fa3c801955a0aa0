"""The ablation's table: every row with its intervals and its paired difference to CAPTURE."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from rich.table import Table

from tasks.base.params import DEPTH, Params
from tasks.base.progress import console, track
from tasks.base.workspace import Workspace
from tasks.evaluation.ablation_rankings import AblationData, scored
from tasks.evaluation.ablation_variants import Ablation
from tasks.evaluation.baselines import BM25, BaselineGallery, TitleIndex, rank_baselines
from tasks.evaluation.unseen_products import is_unseen
from tasks.metrics.ranking import bootstrap
from tasks.tokens.token_files import FeatureStore
from unbundle.base.atomic import atomic_folder, write_json
from unbundle.base.errors import UserError
from unbundle.ranking.embedding_parts import unit

BASELINES = {
    "image": "image only (raw feature)",
    "title": "title only (TF-IDF)",
    "late fusion": "late fusion",
    "late fusion per instance": "late fusion per instance",
}


def write_table(workspace: Workspace, params: Params, matrix: Ablation) -> None:
    """Write `reports/ablation/table.md` and `table.json` from all variants and the baselines.

    Raises:
        UserError: a variant is missing.
    """
    material = AblationData.read(workspace, params)
    parts = [_baselines(workspace, material)]
    for name in matrix.variants:
        path = workspace.ablation / f"{name}.parquet"
        if not path.exists():
            raise UserError(f"{path}: missing; run `dvc repro ablation/dvc.yaml`")
        parts.append(pd.read_parquet(path))
    table, labels = pd.concat(parts), material.queries.labels
    unseen = {
        query
        for query, shown in labels.items()
        if any(is_unseen(label, matrix.unseen) for label in shown)
    }
    tables = {f"{len(labels)} queries of split {material.queries.split}": table}
    if unseen:
        title = f"the {len(unseen)} with a product that zero-shot rows never trained on"
        tables[title] = table[table["query"].isin(unseen)]
    compared = {
        title: compare(part, params.evaluate.resamples, params.seed)
        for title, part in tables.items()
    }
    with atomic_folder(workspace.ablation_report) as folder:
        write_json(folder / "table.json", compared)
        text = "\n".join(markdown(rows, title) for title, rows in compared.items())
        (folder / "table.md").write_text(text, encoding="utf-8")
    for title, rows in compared.items():
        _print(rows, title)
    console.print(f"  → {workspace.ablation_report}")


def _print(rows: list[dict[str, object]], title: str) -> None:
    table = Table(f"{title}, 95 % intervals", *_columns()[2:])
    for row in rows:
        name, _, *cells = _cells(row)
        table.add_row(name, *cells)
    console.print(table)


def _baselines(workspace: Workspace, material: AblationData) -> pd.DataFrame:
    store, queries = FeatureStore.open(workspace.features), material.queries
    rows = store.rows_by_id()

    def raw(places: list[int]) -> np.ndarray:
        return unit(store.tokens(places)[:, 0, : store.channels].astype(np.float32))

    captions = material.gallery["caption"].tolist()
    best = [rows[photo][0] for photo in material.gallery["id"]]
    gallery = BaselineGallery(material.answers.ids, raw(best), captions)
    titles, okapi = TitleIndex(captions, queries.corpus), BM25(captions)
    found: dict[str, dict[str, list[str]]] = {}
    for query in track(queries.rows, "baselines"):
        ranked = rank_baselines(raw(rows[query.id]), titles.scores(query.caption), gallery, DEPTH)
        for key, ids in ranked.items():
            found.setdefault(BASELINES[key], {})[query.id] = ids
        lexical = okapi.scores(query.caption)
        order = np.argsort(-lexical, kind="stable")[:DEPTH]
        found.setdefault("title only (BM25)", {})[query.id] = [
            gallery.ids[item] for item in order if lexical[item] > 0
        ]
    return pd.concat([scored(name, rankings, queries) for name, rankings in found.items()])


OURS = "CAPTURE"
"""The row that the others are compared with."""


def compare(table: pd.DataFrame, resamples: int, seed: int) -> list[dict[str, object]]:
    """One entry a row: both means and both differences, `OURS` less the row, with intervals.

    Args:
        table: columns row, query, ap, coverage and, where there is a network, parameters.
        resamples: of the bootstrap over queries.
        seed: of the bootstrap.
    """
    groups = dict(iter(table.groupby("row", sort=False)))
    ours = groups[OURS].set_index("query")
    rows: list[dict[str, object]] = []
    for name, group in groups.items():
        values = group.set_index("query").loc[ours.index]
        entry: dict[str, object] = {"row": name}
        if "parameters" in values and np.isfinite(values["parameters"].iloc[0]):
            entry["parameters"] = int(values["parameters"].iloc[0])
        for key, label in (("ap", "mAP"), ("coverage", "coverage")):
            column = values[key].to_numpy(np.float64)
            less = ours[key].to_numpy(np.float64) - column
            entry[label] = bootstrap(column, resamples, seed).as_json()
            entry[f"{label} of {OURS} less it"] = bootstrap(less, resamples, seed).as_json()
        rows.append(entry)
    return rows


def markdown(rows: list[dict[str, object]], title: str) -> str:
    """The table as Markdown."""
    lines = [f"# Ablation, {title}", "", "95 % bootstrap intervals; differences are paired.", ""]
    columns = _columns()
    lines += ["| " + " | ".join(columns) + " |", "| --- " * len(columns) + "|"]
    lines += ["| " + " | ".join(_cells(row)) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def _columns() -> list[str]:
    """Heads of the table's columns, the rows' names first."""
    less = f"{OURS} less it"
    return ["", "parameters", f"mAP@{DEPTH}", less, f"coverage@{DEPTH}", less]


def _cells(row: Mapping[str, object]) -> list[str]:
    """A row of `compare` as text, in the order of `_columns`."""
    cells = [str(row["row"]), f"{row['parameters']:,}" if "parameters" in row else ""]
    for label in ("mAP", "coverage"):
        cells.append("{mean:.3f} ({low:.3f} to {high:.3f})".format(**_interval(row[label])))
        less = _interval(row[f"{label} of {OURS} less it"])
        ours = row["row"] == OURS
        cells.append("" if ours else "{mean:+.3f} ({low:+.3f} to {high:+.3f})".format(**less))
    return cells


def _interval(value: object) -> dict[str, float]:
    assert isinstance(value, dict)
    return value
