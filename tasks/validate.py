"""Stage `validate`: which rows of the catalogue are fit for use, and why the others are not.

Great Expectations checks every row (`tasks.validation.checks`). Rows that fail go to quarantine
with the reason, the rest becomes the manifest; more than `validate.max_bad_fraction` of bad rows
fails the stage, and the report then says why. Two choices:

- A training row whose photo is a near-duplicate of a query's is quarantined, not the query: no
  model is measured on photos that it was trained on.
- Of rows that share an id all are quarantined: nothing tells which is meant.

    python -m tasks.validate
"""

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from tasks.base.params import Params
from tasks.base.progress import console, track
from tasks.base.stage_command import run_stage
from tasks.base.workspace import Workspace
from tasks.data.catalogue_table import COLUMNS, MEASURED, TABLE, read_rows
from tasks.data.manifest import write_manifest
from tasks.data.photo_checks import check_photos
from tasks.validation.derived_columns import row_facts
from tasks.validation.gx_validator import CheckResult
from tasks.validation.report import PAGE, write_report
from tasks.validation.verdict import judge, refusal
from unbundle.base.atomic import atomic_file, atomic_folder
from unbundle.base.errors import UserError


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
    photos = check_photos(workspace.catalogue, rows["image"].tolist())
    facts = row_facts(rows, track(photos, "checking photos", len(rows)))
    with atomic_folder(workspace.validation_report) as report:
        verdict = judge(facts, params.validation, report / "data_docs")
        write_report(report, rows, verdict.clean, verdict.findings)
    report_page = workspace.validation_report / PAGE
    if reason := refusal(verdict, rows["id"], params.validation):
        raise UserError(f"{table}: {reason}; more in {report_page}")
    carried = rows[[column for column in rows if column not in COLUMNS]]
    write_manifest(workspace.manifest, verdict.clean[[*COLUMNS, *MEASURED]].join(carried))
    _write_quarantine(workspace.quarantine, verdict.reasons, rows["id"])
    _print_warnings(verdict.findings)
    console.print(
        f"{len(rows):,} rows: {len(verdict.clean):,} clean in {workspace.manifest}, "
        f"{len(verdict.reasons):,} in quarantine; report: {report_page}"
    )


def _write_quarantine(path: Path, reasons: dict[int, str], ids: "pd.Series[str]") -> None:
    columns = {
        "line": pa.array(list(reasons), pa.int64()),
        "id": pa.array([ids[line] for line in reasons], pa.string()),
        "reason": pa.array(list(reasons.values()), pa.string()),
    }
    with atomic_file(path) as temporary:
        pq.write_table(pa.table(columns), temporary)


def _print_warnings(findings: list[CheckResult]) -> None:
    for finding in findings:
        if finding.check.effect == "warn" and not finding.holds:
            lines = list(finding.failures)
            console.print(
                f"warning: {finding.check.name}: not so on {len(lines):,} lines, first {lines[0]}"
            )


if __name__ == "__main__":
    run_stage(validate)
