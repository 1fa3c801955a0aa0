"""What the gate reads: candidate and champion asked today's queries in one run."""

import json
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from tasks.base.params import DEPTH, Params
from tasks.base.progress import console
from tasks.base.workspace import Workspace
from tasks.evaluation.queries import LabelledQueries, median_latencies, read_queries, retrieve
from tasks.evaluation.report import QUERY_TABLE, SLICE
from tasks.index.catch_up_with_journal import catch_up_with_journal
from tasks.index.ingestion_receipt import Receipt, milvus_uri
from tasks.metrics.ranking import Interval, corrected
from tasks.monitoring.champion_profile import keep_profile
from tasks.monitoring.replay_queries import recent_records, replay
from tasks.promotion.gate import Candidate, Measurement
from unbundle.base.errors import UserError
from unbundle.encoding.model_bundle import SETTINGS, BundleFormatError
from unbundle.index.change_journal import Journal
from unbundle.index.gallery_collection import Gallery, LostRowsError
from unbundle.index.milvus_database import Database
from unbundle.query.search import ProductSearch


@dataclass(frozen=True)
class Comparison:
    """What was measured in one run on the same queries."""

    candidate: Candidate
    champion: Measurement | None
    """None where nothing serves, or only another version of unbundle could measure it."""


def measure(
    workspace: Workspace, params: Params, receipt: Receipt, champion: str | None
) -> Comparison:
    """Ask candidate and champion the labelled queries in turns.

    The candidate gets what it needs to serve: live changes that it lacks, and the profile that a
    drift watch compares with. Nothing that clients see changes.

    Args:
        workspace: the candidate's.
        params: `evaluate`, `promote`, `replay` and `watch`.
        receipt: of the candidate's ingestion.
        champion: the collection that serves.

    Raises:
        UserError: the figures are of another collection, of other queries or depths; the champion's
            bundle is gone; the candidate cannot hold a live change.
    """
    queries = read_queries(workspace, params)
    figures, table = _figures(workspace, receipt, queries)
    uri = milvus_uri(workspace, params.ingest)
    with ExitStack() as opened:
        candidate = opened.enter_context(ProductSearch(workspace.bundle, uri, receipt.collection))
        if candidate.gallery.live:
            # It has served before, or a promotion was killed: its rows are the gallery's and the
            # journal's, and all of these can be counted.
            catch_up_with_journal(workspace, candidate.gallery, params)
        served = None if champion is None else _open_champion(workspace, uri, champion)
        if served is not None:
            opened.enter_context(served)
        searches = [candidate] if served is None else [candidate, served]
        count = params.evaluate.latency_queries
        latencies = median_latencies(searches, queries, count, DEPTH)
        shown = _candidate(workspace, figures, table, candidate, queries, latencies[0], params)
        if champion is not None:
            shown = _replayed(shown, workspace, candidate, params)
        evidence = None if served is None else _champion(served, queries, latencies[1], params)
        keep_profile(candidate, workspace, queries, params.watch)
    return Comparison(shown, evidence)


def _figures(
    workspace: Workspace, receipt: Receipt, queries: LabelledQueries
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
    if f"mAP@{DEPTH}" not in by_query or f"recall@{DEPTH}" not in figures["index"]:
        raise UserError(f"{path}: figures at other depths; run `dvc repro evaluate`")
    return figures, by_query


def _open_champion(workspace: Workspace, uri: str, collection: str) -> ProductSearch | None:
    """The champion; none where only another version of unbundle, or nothing, could measure it."""
    with Database(uri) as database:
        version = database.gallery(collection).properties["bundle"]
    if not (workspace.bundles / version / SETTINGS).is_file():
        raise UserError(
            f"{workspace.bundles / version}: no such bundle, so the champion {collection} cannot "
            "be measured; copy it there, or go back with `unbundle rollback`"
        )
    try:
        return ProductSearch(workspace.bundles, uri, collection)
    except (BundleFormatError, LostRowsError) as error:
        # Nor could this version serve it: to wait for a comparison would be to wait for ever.
        console.print(
            f"  the champion {collection} is not compared, the other rules alone judge: {error}"
        )
        return None


def _candidate(
    workspace: Workspace,
    figures: dict[str, Any],
    table: pd.DataFrame,
    search: ProductSearch,
    queries: LabelledQueries,
    latency_ms: float,
    params: Params,
) -> Candidate:
    bundle = search.encoder.bundle
    int8 = bundle.int8
    return Candidate(
        collection=search.gallery.name,
        average_precision=table[f"mAP@{DEPTH}"].to_numpy(),
        coverage=table[f"coverage@{DEPTH}"].to_numpy(),
        latency_ms=latency_ms,
        slices={
            name.removeprefix(SLICE): table[name].to_numpy()
            for name in table.columns
            if name.startswith(SLICE)
        },
        cosines={network: parity.min_cosine for network, parity in bundle.parity.items()},
        int8_cosines={name: parity.min_cosine for name, parity in int8.networks.items()}
        if int8
        else {},
        int8_gain=int8.cost.average_precision.mean if int8 and int8.cost else None,
        over_baselines={
            name: {metric: Interval(**values) for metric, values in metrics.items()}
            for name, metrics in figures["against_baselines"].items()
            # Titles of composed queries are words of the very titles that are to be found.
            if name == "image" or not queries.composed
        },
        index_recall=figures["index"][f"recall@{DEPTH}"],
        rows=search.gallery.count(),
        gallery=_expected_rows(workspace, search.gallery, queries),
    )


def _replayed(
    candidate: Candidate, workspace: Workspace, search: ProductSearch, params: Params
) -> Candidate:
    if params.promote.max_changed is None:
        return candidate
    figures, _ = replay(search, recent_records(workspace, params.replay), params.replay)
    return replace(candidate, replayed=figures.replayed, changed=figures.changed)


def _expected_rows(workspace: Workspace, gallery: Gallery, queries: LabelledQueries) -> int:
    expected = len(queries.gallery)
    if gallery.live:
        for change in Journal(workspace.journal).changed():
            expected += (change.item is not None) - (change.id in queries.gallery)
    return expected


def _champion(
    search: ProductSearch, queries: LabelledQueries, latency_ms: float, params: Params
) -> Measurement:
    rankings = retrieve(search, queries, params.evaluate.depth).merged(queries)
    # What came live after the candidate's catalogue was read takes no rank: the candidate was
    # measured without it, and will have it, too.
    rankings = {
        query: [item for item in ranking if item in queries.gallery]
        for query, ranking in rankings.items()
    }
    values = corrected(rankings, queries.labels, queries.gallery, [DEPTH], queries.junk)
    return Measurement(
        collection=search.gallery.name,
        average_precision=values.average_precision[DEPTH],
        coverage=values.coverage[DEPTH],
        latency_ms=latency_ms,
    )
