"""Promotion: the gate decides whether clients are answered from the fresh collection.

    python -m tasks.promote        # the same as `unbundle promote`

Not a DVC stage, since it has side effects. The champion is asked today's queries in the same run,
never read from an old file. What a killed run leaves undone, the next one completes: the decision
and the bundle are written before the alias moves, and clean-up comes last.
"""

import json
import shutil
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from serving.atomic import atomic_folder, write_json
from serving.bundle import SETTINGS
from serving.database import CHAMPION, Database
from serving.errors import UserError
from serving.search import ProductSearch
from tasks.gate import Candidate, Decision, Evidence, decide
from tasks.ingest import Receipt, milvus_uri
from tasks.metrics import corrected
from tasks.params import Evaluate, Params, load_params
from tasks.progress import console
from tasks.replay import recent_records, replay
from tasks.retrieval import Queries, median_latencies, read_queries, retrieve
from tasks.retrieval_report import QUERY_TABLE, SLICE
from tasks.stage import run_stage
from tasks.watch import keep_profile
from tasks.workspace import Workspace


def promote(workspace: Workspace, params: Params) -> Decision:
    """Judge the collection of `artifacts/ingestion.json`; let it serve if every rule holds.

    A promoted candidate's bundle is in `data/bundles/<version>/`, the alias `products` names its
    collection, `products_prev` the one before, and older ones beyond `promote.keep` are dropped. A
    refused one changes nothing. The decision is in `artifacts/promotion.json`; a candidate that
    serves already is left alone, and so is the record of its promotion.

    Raises:
        UserError: the figures are of another collection or of other queries, the champion's bundle
            is gone, or Milvus cannot be reached.
    """
    receipt = Receipt.read(workspace.receipt)
    with Database(milvus_uri(workspace, params.ingest)) as database:
        champion = database.target(CHAMPION)
        if champion == receipt.collection:
            decision = _unchanged(receipt.collection)
        else:
            decision = _decide(workspace, params, receipt, champion)
            record = {"decided_at": datetime.now(UTC).isoformat(timespec="seconds")}
            write_json(workspace.promotion, record | decision.model_dump())
            if decision.promoted:
                _keep_bundle(workspace, receipt.bundle)
                database.gallery(receipt.collection).annotate({"evaluation": _evidence(decision)})
                database.promote(receipt.collection)
        if decision.promoted:
            _clean_up(workspace, database, params.promote.keep)
    for rule in decision.rules:
        console.print(f"  {'holds' if rule.passed else 'BROKEN'}: {rule.line}")
    console.print(f"  {decision.reason}")
    return decision


def _unchanged(collection: str) -> Decision:
    return Decision(
        promoted=True,
        reason=f"unchanged: {collection} is promoted already",
        candidate=collection,
        champion=collection,
    )


def _decide(
    workspace: Workspace, params: Params, receipt: Receipt, champion: str | None
) -> Decision:
    queries = read_queries(workspace, params)
    figures, table = _figures(workspace, receipt, queries, params.evaluate)
    uri, k = milvus_uri(workspace, params.ingest), params.evaluate.ks[0]
    searches = [ProductSearch(workspace.bundle, uri, receipt.collection)]
    try:
        if champion is not None:
            searches.append(_open_champion(workspace, uri, champion))
        count = params.evaluate.latency_queries
        latencies = median_latencies(searches, queries, count, k)
        candidate = _candidate(figures, table, searches[0], queries, latencies[0], params)
        evidence = None
        if champion is not None:
            candidate = _replayed(candidate, workspace, searches[0], params)
            evidence = _champion(searches[1], queries, latencies[1], params)
        keep_profile(searches[0], workspace, queries, params.watch)
        return decide(candidate, evidence, params)
    finally:
        for search in searches:
            search.close()


def _figures(
    workspace: Workspace, receipt: Receipt, queries: Queries, params: Evaluate
) -> tuple[dict[str, Any], pd.DataFrame]:
    path, table = workspace.retrieval_metrics, workspace.retrieval_report / QUERY_TABLE
    if not path.is_file() or not table.is_file():
        missing = table if path.is_file() else path
        raise UserError(f"{missing}: no such file; run `dvc repro evaluate`")
    figures = json.loads(path.read_text(encoding="utf-8"))
    if figures["collection"] != receipt.collection:
        raise UserError(
            f"{path}: figures of {figures['collection']}, the candidate is {receipt.collection}; "
            "run `dvc repro evaluate`"
        )
    if figures["queries"]["digest"] != queries.digest:
        raise UserError(f"{path}: figures of other queries; run `dvc repro evaluate`")
    by_query = pd.read_parquet(table)
    if f"mAP@{params.ks[0]}" not in by_query or f"recall@{params.index_k}" not in figures["index"]:
        raise UserError(f"{path}: figures at other depths; run `dvc repro evaluate`")
    return figures, by_query


def _open_champion(workspace: Workspace, uri: str, collection: str) -> ProductSearch:
    with Database(uri) as database:
        version = database.gallery(collection).properties["bundle"]
    if not (workspace.bundles / version / SETTINGS).is_file():
        raise UserError(
            f"{workspace.bundles / version}: no such bundle, so the champion {collection} cannot "
            "be measured; copy it there, or go back with `unbundle rollback`"
        )
    return ProductSearch(workspace.bundles, uri, collection)


def _candidate(
    figures: dict[str, Any],
    table: pd.DataFrame,
    search: ProductSearch,
    queries: Queries,
    latency_ms: float,
    params: Params,
) -> Candidate:
    k = params.evaluate.ks[0]
    parity = search.encoder.bundle.parity
    return Candidate(
        collection=search.gallery.name,
        average_precision=table[f"mAP@{k}"].to_numpy(),
        coverage=table[f"coverage@{k}"].to_numpy(),
        latency_ms=latency_ms,
        slices={
            name.removeprefix(SLICE): table[name].to_numpy()
            for name in table.columns
            if name.startswith(SLICE)
        },
        cosines={network: values["min_cosine"] for network, values in parity.items()},
        index_recall=figures["index"][f"recall@{params.evaluate.index_k}"],
        rows=search.gallery.count(),
        gallery=len(queries.gallery),
    )


def _replayed(
    candidate: Candidate, workspace: Workspace, search: ProductSearch, params: Params
) -> Candidate:
    if params.promote.max_changed is None:
        return candidate
    figures, _ = replay(search, recent_records(workspace, params.replay), params.replay)
    return replace(candidate, replayed=figures.replayed, changed=figures.changed)


def _champion(
    search: ProductSearch, queries: Queries, latency_ms: float, params: Params
) -> Evidence:
    k = params.evaluate.ks[0]
    rankings = retrieve(search, queries, params.evaluate.depth).merged(queries)
    values = corrected(rankings, queries.labels, queries.gallery, [k])
    return Evidence(
        collection=search.gallery.name,
        average_precision=values.average_precision[k],
        coverage=values.coverage[k],
        latency_ms=latency_ms,
    )


def _evidence(decision: Decision) -> str:
    floors = {rule.name: rule.figures for rule in decision.rules if "value" in rule.figures}
    return json.dumps({name: round(figures["value"], 6) for name, figures in floors.items()})


def _keep_bundle(workspace: Workspace, version: str) -> None:
    target = workspace.bundles / version
    if not (target / SETTINGS).is_file():
        with atomic_folder(target) as folder:
            shutil.copytree(workspace.bundle, folder, dirs_exist_ok=True)


def _clean_up(workspace: Workspace, database: Database, keep: int) -> None:
    for collection in database.collect_garbage(keep):
        console.print(f"  dropped {collection}, no alias names it")
    used = {collection.bundle for collection in database.collections()}
    unused = [folder for folder in _bundles(workspace) if folder.name not in used]
    newest_first = sorted(unused, key=lambda folder: folder.stat().st_mtime, reverse=True)
    for folder in newest_first[keep:]:
        shutil.rmtree(folder)
        console.print(f"  removed {folder}, no collection needs it")


def _bundles(workspace: Workspace) -> list[Path]:
    # Half-written folders have names that begin with a dot.
    return [path.parent for path in workspace.bundles.glob(f"[0-9a-f]*/{SETTINGS}")]


def command() -> None:
    """Let clients be answered from the fresh collection, if it passes the gate."""
    _promote_or_fail(Workspace(), load_params())


def _promote_or_fail(workspace: Workspace, params: Params) -> None:
    decision = promote(workspace, params)
    if not decision.promoted:
        raise UserError(decision.reason)


if __name__ == "__main__":
    run_stage(_promote_or_fail)
