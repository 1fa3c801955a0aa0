"""Promotion: the gate decides whether clients are answered from the fresh collection.

    python -m tasks.promote        # the same as `unbundle promote`

Not a DVC stage, since it has side effects. The champion is asked today's queries in the same run,
never read from an old file. A promotion changes the model and loses no product: what refreshes and
clients changed live (`unbundle.index.journal`) is made in the candidate before the alias moves, and
once more after, for what came meanwhile. What a killed run leaves undone, the next one completes:
the decision and the bundle are written before the alias moves, and clean-up comes last.
"""

import json
import shutil
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import pandas as pd
import typer

from tasks.base.command import run_stage
from tasks.base.params import Evaluate, Params, load_params
from tasks.base.progress import console
from tasks.base.workspace import Workspace
from tasks.evaluation.queries import Queries, median_latencies, read_queries, retrieve
from tasks.evaluation.report import QUERY_TABLE, SLICE
from tasks.index.catch_up import catch_up_with_journal
from tasks.ingest import Receipt, milvus_uri
from tasks.metrics.ranking import corrected
from tasks.promotion.approval import NOBODY, Approval, Pending
from tasks.promotion.gate import Candidate, Decision, Evidence, decide
from tasks.replay import recent_records, replay
from tasks.watch import keep_profile
from unbundle.base.atomic import atomic_folder, write_json
from unbundle.base.errors import UserError
from unbundle.encoding.bundle import SETTINGS, BundleFormatError
from unbundle.index.database import CHAMPION, Database
from unbundle.index.gallery import Gallery
from unbundle.index.journal import Journal
from unbundle.query.search import ProductSearch


def promote(workspace: Workspace, params: Params, approval: Approval | None = None) -> Decision:
    """Judge the collection of `artifacts/ingestion.json`; let it serve if every rule holds.

    A promoted candidate has all live changes, its bundle is in `data/bundles/<version>/`, the alias
    `products` names its collection, `products_prev` the one before, and older ones beyond
    `promote.keep` are dropped. A refused one changes nothing. The decision is in
    `artifacts/promotion.json`; a candidate that serves already is left alone, and so is the record
    of its promotion.

    Args:
        workspace: the candidate's.
        params: `promote` and what the measurements need.
        approval: the word of a person, where `promote.approval` is manual.

    Raises:
        UserError: the figures are of another collection or of other queries, the champion's bundle
            is gone, the candidate cannot hold a live change, Milvus cannot be reached, or nobody
            has approved.
    """
    decision = judge(workspace, params)
    if awaits_approval(decision, params) and approval is None:
        raise UserError(
            f"{decision.candidate}: {decision.reason}, and promote.approval is manual: give "
            "--reviewer and --note (and --reject), or run the flow `evaluate` and answer there"
        )
    return conclude(workspace, params, decision, approval)


def judge(workspace: Workspace, params: Params) -> Decision:
    """What the gate says of the candidate; nothing that clients see changes.

    A candidate that waits for a person, or that one rejected, is not measured again.

    Raises:
        UserError: as `promote`.
    """
    receipt = Receipt.read(workspace.receipt)
    with Database(milvus_uri(workspace, params.ingest)) as database:
        champion = database.target(CHAMPION)
    if champion == receipt.collection:
        return _unchanged(receipt.collection)
    pending = Pending.read(workspace.pending)
    if pending is not None and pending.is_of(receipt.collection, champion):
        return pending.decision
    rejected = _rejected(workspace, receipt.collection, champion)
    decision = rejected or _decide(workspace, params, receipt, champion)
    for rule in decision.rules:
        console.print(f"  {'holds' if rule.passed else 'BROKEN'}: {rule.line}")
    if awaits_approval(decision, params):
        Pending.write(workspace.pending, decision)
    return decision


def awaits_approval(decision: Decision, params: Params) -> bool:
    """Whether a person has to say whether this candidate may serve."""
    new = decision.promoted and decision.champion != decision.candidate
    return new and params.promote.approval == "manual"


def conclude(
    workspace: Workspace, params: Params, decision: Decision, approval: Approval | None = None
) -> Decision:
    """Make what was decided so, and record who decided it and why.

    Args:
        workspace: the candidate's.
        params: those of `judge`.
        decision: of `judge`.
        approval: of a person, where `awaits_approval` says so.

    Raises:
        UserError: as `promote`.
    """
    receipt = Receipt.read(workspace.receipt)
    if approval is not None and decision.promoted:
        decision = _reviewed(decision, approval)
    with Database(milvus_uri(workspace, params.ingest)) as database:
        if decision.candidate != receipt.collection:
            raise UserError(
                f"{workspace.receipt}: {receipt.collection} was ingested since {decision.candidate}"
                " was judged; run `unbundle promote`"
            )
        if decision.champion == decision.candidate:
            catch_up_with_journal(workspace, database.gallery(receipt.collection), params)
        elif decision.promoted:
            _carry_out(workspace, database, receipt, decision, params)
        else:
            _write_record(workspace, decision)
        if decision.promoted:
            _clean_up(workspace, database, params.promote.keep)
    workspace.pending.unlink(missing_ok=True)
    console.print(f"  {decision.reason}")
    return decision


def _reviewed(decision: Decision, approval: Approval) -> Decision:
    approved = approval.decision == "approve"
    said = "approved" if approved else "rejected"
    note = f": {approval.note}" if approval.note else ""
    reason = f"{said} by {approval.reviewer}{note}"
    if approved:
        reason = f"{decision.reason}; {reason}"
    return decision.model_copy(
        update={"promoted": approved, "reason": reason, "approval": approval.model_dump()}
    )


def _rejected(workspace: Workspace, candidate: str, champion: str | None) -> Decision | None:
    """The decision of a person who rejected this very candidate."""
    if not workspace.promotion.is_file():
        return None
    last = json.loads(workspace.promotion.read_text(encoding="utf-8"))
    last.pop("decided_at", None)
    decision = Decision.model_validate(last)
    same = (decision.candidate, decision.champion) == (candidate, champion)
    approval = decision.approval or {}
    person = approval.get("decision") == "reject" and approval.get("reviewer") != NOBODY
    return decision if same and person and not decision.promoted else None


def _carry_out(
    workspace: Workspace, database: Database, receipt: Receipt, decision: Decision, params: Params
) -> None:
    gallery = database.gallery(receipt.collection)
    fresh = not gallery.live
    caught_up = catch_up_with_journal(workspace, gallery, params)
    _write_record(workspace, decision)
    _keep_bundle(workspace, receipt.bundle)
    gallery.annotate({"evaluation": _evidence(decision)})
    database.promote(receipt.collection)
    catch_up_with_journal(workspace, gallery, params)
    if fresh:
        # Its ingestion had seen them, and so will every later one.
        Journal(workspace.journal).forget(caught_up.seen)


def _write_record(workspace: Workspace, decision: Decision) -> None:
    record = {"decided_at": datetime.now(UTC).isoformat(timespec="seconds")}
    write_json(workspace.promotion, record | decision.model_dump())


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
    if searches[0].gallery.live:
        # It has served before, or a promotion was killed: its rows are the gallery's and the
        # journal's, and all of these can be counted.
        catch_up_with_journal(workspace, searches[0].gallery, params)
    try:
        if champion is not None:
            searches += _open_champion(workspace, uri, champion)
        count = params.evaluate.latency_queries
        latencies = median_latencies(searches, queries, count, k)
        candidate = _candidate(
            workspace, figures, table, searches[0], queries, latencies[0], params
        )
        evidence = None
        if champion is not None:
            candidate = _replayed(candidate, workspace, searches[0], params)
        if len(searches) > 1:
            evidence = _champion(searches[1], queries, latencies[1], params)
        keep_profile(searches[0], workspace, queries, params.watch)
        return decide(candidate, evidence, params).model_copy(update={"champion": champion})
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


def _open_champion(workspace: Workspace, uri: str, collection: str) -> list[ProductSearch]:
    """The champion; none where only another version of unbundle could measure it."""
    with Database(uri) as database:
        version = database.gallery(collection).properties["bundle"]
    if not (workspace.bundles / version / SETTINGS).is_file():
        raise UserError(
            f"{workspace.bundles / version}: no such bundle, so the champion {collection} cannot "
            "be measured; copy it there, or go back with `unbundle rollback`"
        )
    try:
        return [ProductSearch(workspace.bundles, uri, collection)]
    except BundleFormatError as error:
        # Nor could this version serve it: to wait for a comparison would be to wait for ever.
        console.print(
            f"  the champion {collection} is not compared, the floors alone judge: {error}"
        )
        return []


def _candidate(
    workspace: Workspace,
    figures: dict[str, Any],
    table: pd.DataFrame,
    search: ProductSearch,
    queries: Queries,
    latency_ms: float,
    params: Params,
) -> Candidate:
    k = params.evaluate.ks[0]
    bundle = search.encoder.bundle
    int8 = bundle.int8 or {"networks": {}, "cost": None}
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
        cosines={network: values["min_cosine"] for network, values in bundle.parity.items()},
        int8_cosines={name: values["min_cosine"] for name, values in int8["networks"].items()},
        int8_gain=int8["cost"] and int8["cost"]["mAP@10"]["mean"],
        index_recall=figures["index"][f"recall@{params.evaluate.index_k}"],
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


def _expected_rows(workspace: Workspace, gallery: Gallery, queries: Queries) -> int:
    expected = len(queries.gallery)
    if gallery.live:
        for change in Journal(workspace.journal).changed():
            expected += (change.item is not None) - (change.id in queries.gallery)
    return expected


def _champion(
    search: ProductSearch, queries: Queries, latency_ms: float, params: Params
) -> Evidence:
    k = params.evaluate.ks[0]
    rankings = retrieve(search, queries, params.evaluate.depth).merged(queries)
    # What came live after the candidate's catalogue was read takes no rank: the candidate was
    # measured without it, and will have it, too.
    rankings = {
        query: [item for item in ranking if item in queries.gallery]
        for query, ranking in rankings.items()
    }
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


def command(
    reviewer: Annotated[
        str, typer.Option(help="Who decides, where promote.approval is manual.")
    ] = "",
    note: Annotated[str, typer.Option(help="Why.")] = "",
    reject: Annotated[bool, typer.Option("--reject", help="Keep the candidate out.")] = False,
) -> None:
    """Let clients be answered from the fresh collection, if it passes the gate."""
    approval = None
    if reviewer:
        decision: Literal["approve", "reject"] = "reject" if reject else "approve"
        approval = Approval(decision=decision, reviewer=reviewer, note=note)
    elif note or reject:
        raise UserError("--note and --reject are a person's: give --reviewer, too")
    _promote_or_fail(Workspace(), load_params(), approval)


def _promote_or_fail(
    workspace: Workspace, params: Params, approval: Approval | None = None
) -> None:
    decision = promote(workspace, params, approval)
    if not decision.promoted:
        raise UserError(decision.reason)


if __name__ == "__main__":
    run_stage(_promote_or_fail)
