"""Promotion: the gate decides whether clients are answered from the fresh collection.

    python -m tasks.promote        # the same as `unbundle promote`

Not a DVC stage, since it has side effects. The champion is asked today's queries in the same run,
never read from an old file. A promotion changes the model and loses no product: what refreshes and
clients changed live (`unbundle.index.change_journal`) is made in the candidate before the alias
moves, and once more after, for what came meanwhile. What a killed run leaves undone, the next one
completes: the decision and the bundle are written before the alias moves, and clean-up comes last.
"""

from typing import Annotated, Literal

import typer

from tasks.base.params import Params, load_params
from tasks.base.progress import console
from tasks.base.stage_command import run_stage
from tasks.base.workspace import Workspace
from tasks.index.catch_up_with_journal import catch_up_with_journal
from tasks.index.ingestion_receipt import Receipt, milvus_uri
from tasks.promotion.approval import Approval, Pending, awaits_approval, reviewed
from tasks.promotion.carry_out import carry_out, clean_up, rejected_before, write_record
from tasks.promotion.gate import Decision, decide, unchanged
from tasks.promotion.measure_candidate import measure
from unbundle.base.errors import UserError
from unbundle.index.milvus_database import CHAMPION, Database


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
    awaited = awaits_approval(decision, params)
    if awaited:
        Pending.ask(workspace.pending, decision)
    if awaited and approval is None:
        raise UserError(
            f"{decision.candidate}: {decision.reason}, and promote.approval is manual: give "
            "--reviewer and --note (and --reject), or run the flow `evaluate` and answer there"
        )
    return conclude(workspace, params, decision, approval)


def judge(workspace: Workspace, params: Params) -> Decision:
    """What the gate says of the candidate; no record is written.

    A candidate that waits for a person, or that one rejected, is not measured again.

    Raises:
        UserError: as `promote`.
    """
    receipt = Receipt.read(workspace.receipt)
    with Database(milvus_uri(workspace, params.ingest)) as database:
        champion = database.target(CHAMPION)
    if champion == receipt.collection:
        return unchanged(receipt.collection)
    pending = Pending.read(workspace.pending)
    if pending is not None and pending.is_of(receipt.collection, champion):
        return pending.decision
    decision = rejected_before(workspace, receipt.collection, champion)
    if decision is None:
        compared = measure(workspace, params, receipt, champion)
        decided = decide(compared.candidate, compared.champion, params)
        decision = decided.model_copy(update={"champion": champion})
    for rule in decision.rules:
        console.print(f"  {'holds' if rule.passed else 'BROKEN'}: {rule.line}")
    return decision


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
        decision = reviewed(decision, approval)
    with Database(milvus_uri(workspace, params.ingest)) as database:
        if decision.candidate != receipt.collection:
            raise UserError(
                f"{workspace.receipt}: {receipt.collection} was ingested since {decision.candidate}"
                " was judged; run `unbundle promote`"
            )
        if decision.champion == decision.candidate:
            catch_up_with_journal(workspace, database.gallery(receipt.collection), params)
        elif decision.promoted:
            carry_out(workspace, database, receipt, decision, params)
        else:
            write_record(workspace, decision)
        if decision.promoted:
            clean_up(workspace, database, params.promote.keep)
    workspace.pending.unlink(missing_ok=True)
    console.print(f"  {decision.reason}")
    return decision


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
