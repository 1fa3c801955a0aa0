"""The decision that is not a stage: whether clients are answered from the fresh collection.

Where `promote.approval` is manual, what passed the gate waits for a person: a run of a deployment
is suspended, its process ends, and resumed it goes on here; any other run waits in its process.
"""

from pathlib import Path
from typing import cast

from prefect import State, task
from prefect.cache_policies import NO_CACHE
from prefect.context import FlowRunContext
from prefect.exceptions import FlowPauseTimeout
from prefect.flow_runs import pause_flow_run, suspend_flow_run
from prefect.input import RunInput
from prefect.states import Completed, Failed
from pydantic import Field

from flows.reporting.reports import report_decision, report_review
from flows.running.dvc_stage_task import run_stages
from tasks.base.params import Params, load_params
from tasks.base.workspace import Workspace
from tasks.promote import conclude, judge
from tasks.promotion.approval import Approval, Pending, awaits_approval, nobody
from tasks.promotion.gate import Decision
from unbundle.base.errors import UserError

PAUSE = "approval"
"""The key of the one pause of a run: resumed, it finds its answer by it."""


class Review(RunInput, Approval):
    """What Prefect asks a person."""

    reviewer: str = Field(min_length=1, description="Who decides.")
    note: str = Field(default="", description="Why.")


def run_to_promotion(root: Path, *stages: str) -> State[None]:
    """Bring stages up to date, then let the gate decide, and a person where params say so.

    Returns:
        The state for a flow to end in: `Promoted`, or `Rejected`, which is no failure.
    """
    if not _resumed(root):
        state = run_stages(root, *stages)
        if not state.is_completed():
            return state
    decided = judge_candidate(root, return_state=True)
    if not decided.is_completed():
        # A new state: Prefect replaces the message of one that belongs to a task.
        return Failed(message=decided.message)
    decision = cast(Decision, decided.result())
    params = load_params(root / "params.yaml")
    approval = _ask(root, params, decision) if awaits_approval(decision, params) else None
    concluded = conclude_promotion(root, decision, approval, return_state=True)
    return State(type=concluded.type, name=concluded.name, message=concluded.message)


@task(task_run_name="judge", cache_policy=NO_CACHE, persist_result=False)
def judge_candidate(root: Path) -> Decision | State[None]:
    """Judge the collection of the last ingestion by every rule of the gate.

    Args:
        root: folder of `dvc.yaml`.
    """
    try:
        decision = judge(Workspace(root), load_params(root / "params.yaml"))
    except UserError as error:
        return Failed(message=str(error))
    report_decision(decision)
    return decision


@task(task_run_name="promote", cache_policy=NO_CACHE)
def conclude_promotion(root: Path, decision: Decision, approval: Approval | None) -> State[None]:
    """Promote a candidate, or record why not.

    Args:
        root: folder of `dvc.yaml`.
        decision: of the gate.
        approval: of a person, where one was asked.
    """
    try:
        params = load_params(root / "params.yaml")
        decision = conclude(Workspace(root), params, decision, approval)
    except UserError as error:
        return Failed(message=str(error))
    outcome = f"{decision.candidate}: {decision.reason}"
    if not decision.promoted:
        serving = decision.champion or "nothing"
        return Completed(
            name="Rejected",
            message=f"{outcome}; {serving} serves as before, the artifact `gate` has every rule",
        )
    replaced = decision.champion not in (None, decision.candidate)
    back = f"; `unbundle rollback` serves {decision.champion} again" if replaced else ""
    return Completed(name="Promoted", message=outcome + back)


def _ask(root: Path, params: Params, decision: Decision) -> Approval:
    """A person's word on the candidate that waits; suspends the run of a deployment until then."""
    path = Workspace(root).pending
    Pending.ask(path, decision)
    pending = Pending.read(path)
    if pending is None or pending.expired(params.promote):
        return nobody(params.promote)
    context = FlowRunContext.get()
    assert context is not None
    assert context.flow_run is not None
    wait_s = params.promote.approval_wait_s
    if context.flow_run.run_count <= 1:
        report_review(pending.decision, Workspace(root), wait_s)
    pause = suspend_flow_run if context.flow_run.deployment_id else pause_flow_run
    try:
        review = pause(wait_for_input=Review, timeout=wait_s, key=PAUSE)
    except FlowPauseTimeout:
        return nobody(params.promote)
    return Approval(decision=review.decision, reviewer=review.reviewer, note=review.note)


def _resumed(root: Path) -> bool:
    """Whether a person answered: what was judged must not be made anew."""
    context = FlowRunContext.get()
    again = context is not None and context.flow_run is not None and context.flow_run.run_count > 1
    return again and Workspace(root).pending.is_file()
