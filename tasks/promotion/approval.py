"""A person's word on a candidate that passed the gate, and the candidate that waits for one."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from tasks.base.params import Params, Promote
from tasks.promotion.gate import Decision
from unbundle.base.atomic import write_json

NOBODY = "time-out"
"""The reviewer where there was none."""


class Approval(BaseModel):
    """What a person decided, and why.

    Attributes:
        decision: whether the candidate may serve.
        reviewer: who says so.
        note: why.
    """

    model_config = ConfigDict(frozen=True)

    decision: Literal["approve", "reject"]
    reviewer: str = Field(min_length=1)
    note: str = ""


class Pending(BaseModel):
    """A candidate that passed the gate and waits for a person."""

    model_config = ConfigDict(frozen=True)

    asked_at: datetime
    decision: Decision

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """What waits, if anything does."""
        if not path.is_file():
            return None
        return cls.model_validate_json(path.read_text(encoding="utf-8"))

    @classmethod
    def ask(cls, path: Path, decision: Decision) -> None:
        """Let a candidate wait from now on; one that waits already waits since it was asked."""
        waits = cls.read(path)
        if waits is None or not waits.is_of(decision.candidate, decision.champion):
            pending = cls(asked_at=datetime.now(UTC), decision=decision)
            write_json(path, pending.model_dump(mode="json"))

    def is_of(self, candidate: str, champion: str | None) -> bool:
        """Whether it is this comparison that waits."""
        return (self.decision.candidate, self.decision.champion) == (candidate, champion)

    def expired(self, params: Promote) -> bool:
        """Whether nobody answered in time."""
        return datetime.now(UTC) - self.asked_at > timedelta(seconds=params.approval_wait_s)


def nobody(params: Promote) -> Approval:
    """The rejection of a candidate that nobody spoke for in time."""
    note = f"nobody answered within {params.approval_wait_s:g} s"
    return Approval(decision="reject", reviewer=NOBODY, note=note)


def reviewed(decision: Decision, approval: Approval) -> Decision:
    """A decision of the gate after a person's word: promoted, or rejected by them."""
    approved = approval.decision == "approve"
    said = "approved" if approved else "rejected"
    note = f": {approval.note}" if approval.note else ""
    reason = f"{said} by {approval.reviewer}{note}"
    if approved:
        reason = f"{decision.reason}; {reason}"
    return decision.model_copy(
        update={"promoted": approved, "reason": reason, "approval": approval.model_dump()}
    )


def awaits_approval(decision: Decision, params: Params) -> bool:
    """Whether a person has to say whether this candidate may serve."""
    new = decision.promoted and decision.champion != decision.candidate
    return new and params.promote.approval == "manual"
