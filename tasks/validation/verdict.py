"""Which rows fail which check, and whether that fails the stage."""

from collections import defaultdict
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import pandas as pd

from tasks.base.params import Validate
from tasks.validation.checks import relation_checks, row_checks
from tasks.validation.derived_columns import relation_facts
from tasks.validation.gx_validator import CheckResult, Validator

NAMED_ROWS = 3
"""Bad rows that an error names."""


@dataclass(frozen=True)
class Verdict:
    """What becomes of the rows.

    Attributes:
        findings: of every check, in order.
        reasons: why a row is in quarantine, by its line in the table, in order of lines.
        clean: facts (`tasks.validation.derived_columns`) of the other rows.
    """

    findings: list[CheckResult]
    reasons: dict[int, str]
    clean: pd.DataFrame


def judge(facts: pd.DataFrame, settings: Validate, docs: Path) -> Verdict:
    """Run all checks on `facts` (`derived.row_facts`); the Data Docs go to `docs`."""
    validator = Validator(docs)
    by_row = validator.run("rows", facts, row_checks(settings))
    passed = facts.drop(index=list(_quarantined(by_row)))
    related = relation_facts(passed, settings.near_duplicate_bits)
    between_rows = validator.run("relations", related, relation_checks(settings))
    clean = passed.drop(index=list(_quarantined(between_rows)))
    findings = by_row + between_rows
    return Verdict(findings, _quarantined(findings), clean)


def faults(facts: pd.DataFrame, settings: Validate) -> dict[int, str]:
    """Why rows are bad by themselves, by their line; those of other rows are not asked for.

    Args:
        facts: `tasks.validation.derived_columns.row_facts`.
        settings: what a row must satisfy.
    """
    return _quarantined(Validator(docs=None).run("rows", facts, row_checks(settings)))


def _quarantined(findings: list[CheckResult]) -> dict[int, str]:
    reasons: dict[int, list[str]] = defaultdict(list)
    for finding in findings:
        if finding.check.effect == "quarantine":
            for line, reason in finding.failures.items():
                reasons[line].append(reason)
    return {line: "; ".join(reasons[line]) for line in sorted(reasons)}


def refusal(verdict: Verdict, ids: pd.Series, settings: Validate) -> str:
    """Why the stage fails; "" where it does not."""
    bad = len(verdict.reasons)
    if bad > settings.max_bad_fraction * len(ids):
        named = "; ".join(
            f"line {line} ({ids[line]!r}): {reason}"
            for line, reason in islice(verdict.reasons.items(), NAMED_ROWS)
        )
        return (
            f"{bad:,} of {len(ids):,} rows are bad, validate.max_bad_fraction allows "
            f"{settings.max_bad_fraction:.1%}: {named}{'; …' if bad > NAMED_ROWS else ''}; "
            "repair them or allow more"
        )
    refused = [finding for finding in verdict.findings if finding.check.effect == "refuse"]
    return next((finding.check.reason for finding in refused if not finding.holds), "")
