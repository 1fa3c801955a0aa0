"""The ablation's table: every row with its intervals and its paired difference to CAPTURE.

python -m tasks.ablation_table
"""

import numpy as np
import pandas as pd
from rich.table import Table

from tasks.base.command import run_stage
from tasks.base.params import Params
from tasks.base.progress import console, track
from tasks.base.workspace import Workspace
from tasks.calibration.term_weights import DEPTH
from tasks.evaluation.ablation import (
    Material,
    compare,
    markdown,
    scored,
    table_cells,
    table_columns,
)
from tasks.evaluation.baselines import BM25, Gallery, Titles, rank_baselines
from tasks.evaluation.unseen import is_unseen
from tasks.evaluation.variants import MATRIX, Ablation
from tasks.tokens.store import FeatureStore
from unbundle.base.atomic import atomic_folder, write_json
from unbundle.base.errors import UserError
from unbundle.ranking.embedding import seen_parts

BASELINES = {
    "image": "image only (raw feature)",
    "title": "title only (TF-IDF)",
    "late fusion": "late fusion",
    "late fusion per instance": "late fusion per instance",
}


def ablation_table(workspace: Workspace, params: Params, matrix: Ablation) -> None:
    """Write `reports/ablation/table.md` and `table.json` from all variants and the baselines.

    Raises:
        UserError: a variant is missing.
    """
    material = Material.read(workspace, params)
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
    table = Table(f"{title}, 95 % intervals", *table_columns()[2:])
    for row in rows:
        name, _, *cells = table_cells(row)
        table.add_row(name, *cells)
    console.print(table)


def _baselines(workspace: Workspace, material: Material) -> pd.DataFrame:
    store, queries = FeatureStore.open(workspace.features), material.queries
    rows = store.rows_by_id()

    def raw(places: list[int]) -> np.ndarray:
        return seen_parts(store.tokens(places)[:, 0].astype(np.float32), store.features)["raw"]

    captions = material.gallery["caption"].tolist()
    best = [rows[photo][0] for photo in material.gallery["id"]]
    gallery = Gallery(material.answers.ids, raw(best), captions)
    titles, okapi = Titles(captions, queries.corpus), BM25(captions)
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


def _with_matrix(workspace: Workspace, params: Params) -> None:
    ablation_table(workspace, params, Ablation.read(workspace.root / MATRIX))


if __name__ == "__main__":
    run_stage(_with_matrix)
