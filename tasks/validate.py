"""Stage `validate`: which rows of the catalogue are fit for use, and why the others are not.

Great Expectations checks every row (`tasks.validation.checks`). Rows that fail go to quarantine
with the reason, the rest becomes the manifest; more than `validate.max_bad_fraction` of bad rows
fails the stage, and the report then says why. Two choices:

- Where a training photo nearly is a query's, the training row goes: no model has seen its exam.
- Of rows that share an id all go: nothing tells which is meant.

    python -m tasks.validate
"""

from collections import defaultdict
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from tasks.base.command import run_stage
from tasks.base.params import Params, Validate
from tasks.base.progress import console, track
from tasks.base.workspace import Workspace
from tasks.data.manifest import write_manifest
from tasks.data.photos import inspect
from tasks.data.table import COLUMNS, MEASURED, TABLE, read_rows
from tasks.validation.checks import relation_checks, row_checks
from tasks.validation.derived import relation_facts, row_facts
from tasks.validation.gx_validator import Finding, Validator
from tasks.validation.report import PAGE, write_report
from unbundle.base.atomic import atomic_file, atomic_folder
from unbundle.base.errors import UserError

NAMED_ROWS = 3
"""Bad rows that an error names."""


@dataclass(frozen=True)
class Verdict:
    """What becomes of the rows.

    Attributes:
        findings: of every check, in order.
        reasons: why a row is in quarantine, by its line in the table, in order of lines.
        clean: facts (`tasks.validation.derived`) of the other rows.
    """

    findings: list[Finding]
    reasons: dict[int, str]
    clean: pd.DataFrame


def validate(workspace: Workspace, params: Params) -> None:
    """Check `workspace.catalogue`; write manifest, quarantine and report.

    Raises:
        UserError: the table cannot be read, has too many bad rows, or has no clean row to train
            on or to search in. In the latter two the report is written, and nothing else.
    """
    table = workspace.catalogue / TABLE
    if not table.is_file():
        raise UserError(f"{table}: no such file; run the stage catalogue first")
    rows = read_rows(table)
    photos = inspect(workspace.catalogue, rows["image"].tolist())
    facts = row_facts(rows, track(photos, "checking photos", len(rows)))
    with atomic_folder(workspace.validation_report) as report:
        verdict = judge(facts, params.validation, report / "data_docs")
        write_report(report, rows, verdict.clean, verdict.findings)
    report_page = workspace.validation_report / PAGE
    if refusal := _refusal(verdict, rows["id"], params.validation):
        raise UserError(f"{table}: {refusal}; more in {report_page}")
    carried = rows[[column for column in rows if column not in COLUMNS]]
    write_manifest(workspace.manifest, verdict.clean[[*COLUMNS, *MEASURED]].join(carried))
    _write_quarantine(workspace.quarantine, verdict.reasons, rows["id"])
    _print_warnings(verdict.findings)
    console.print(
        f"{len(rows):,} rows: {len(verdict.clean):,} clean in {workspace.manifest}, "
        f"{len(verdict.reasons):,} in quarantine; report: {report_page}"
    )


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
        facts: `tasks.validation.derived.row_facts`.
        settings: what a row must satisfy.
    """
    return _quarantined(Validator(docs=None).run("rows", facts, row_checks(settings)))


def _quarantined(findings: list[Finding]) -> dict[int, str]:
    reasons: dict[int, list[str]] = defaultdict(list)
    for finding in findings:
        if finding.check.effect == "quarantine":
            for line, reason in finding.failures.items():
                reasons[line].append(reason)
    return {line: "; ".join(reasons[line]) for line in sorted(reasons)}


def _refusal(verdict: Verdict, ids: pd.Series, settings: Validate) -> str:
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


def _write_quarantine(path: Path, reasons: dict[int, str], ids: "pd.Series[str]") -> None:
    columns = {
        "line": pa.array(list(reasons), pa.int64()),
        "id": pa.array([ids[line] for line in reasons], pa.string()),
        "reason": pa.array(list(reasons.values()), pa.string()),
    }
    with atomic_file(path) as temporary:
        pq.write_table(pa.table(columns), temporary)


def _print_warnings(findings: list[Finding]) -> None:
    for finding in findings:
        if finding.check.effect == "warn" and not finding.holds:
            lines = list(finding.failures)
            console.print(
                f"warning: {finding.check.name}: not so on {len(lines):,} lines, first {lines[0]}"
            )


if __name__ == "__main__":
    run_stage(validate)
