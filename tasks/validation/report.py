"""The report of validation: figures as JSON, and a page that needs no network.

Great Expectations' Data Docs, beside them, load their styles from elsewhere when viewed.
"""

import html
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import pandas as pd

from tasks.data.catalogue_table import KINDS, SPLITS
from tasks.validation.gx_validator import CheckResult
from unbundle.base.atomic import write_json

FIGURES = "validation.json"
PAGE = "summary.html"
EXAMPLES = 20
"""Failing rows that the report names per check; the quarantine has all."""

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; margin: 1rem 0 }
th, td { text-align: left; vertical-align: top; padding: .25rem 1rem .25rem 0 }
tr { border-bottom: 1px solid #8884 }
"""


def write_report(
    folder: Path, rows: pd.DataFrame, clean: pd.DataFrame, findings: Sequence[CheckResult]
) -> None:
    """Write `validation.json` and `summary.html` into a folder; both depend on nothing else.

    Args:
        folder: an existing folder.
        rows: all rows of the catalogue.
        clean: those of them that stay.
        findings: of every check.
    """
    figures = _figures(rows, clean, findings)
    write_json(folder / FIGURES, figures)
    (folder / PAGE).write_text(_page(figures), encoding="utf-8")


def _figures(
    rows: pd.DataFrame, clean: pd.DataFrame, findings: Sequence[CheckResult]
) -> dict[str, Any]:
    counts = clean.groupby(["split", "kind"]).size()
    return {
        "rows": len(rows),
        "clean": len(clean),
        "quarantined": len(rows) - len(clean),
        "clean_by_split": {
            split: {kind or "unknown": int(counts.get((split, kind), 0)) for kind in KINDS}
            for split in SPLITS
        },
        "checks": [
            {
                "name": finding.check.name,
                "expectation": finding.check.expectation,
                "effect": finding.check.effect,
                "holds": finding.holds,
                "failures": len(finding.failures),
                "first": [
                    {"line": line, "id": rows["id"][line], "reason": reason}
                    for line, reason in islice(finding.failures.items(), EXAMPLES)
                ],
            }
            for finding in findings
        ],
    }


def _page(figures: dict[str, Any]) -> str:
    splits = [
        [split, *(f"{count:,}" for count in kinds.values())]
        for split, kinds in figures["clean_by_split"].items()
    ]
    checks = [
        [
            check["name"],
            "holds" if check["holds"] else f"{check['failures']:,} rows fail",
            check["effect"],
        ]
        for check in figures["checks"]
    ]
    first = [
        [str(row["line"]), row["id"], row["reason"], check["effect"]]
        for check in figures["checks"]
        for row in check["first"]
    ]
    return "\n".join(
        [
            "<!doctype html><meta charset='utf-8'><title>Validation</title>",
            f"<style>{STYLE}</style><h1>Validation</h1>",
            f"<p>{figures['rows']:,} rows, {figures['clean']:,} clean, "
            f"{figures['quarantined']:,} in quarantine.</p>",
            _table(["clean rows", *(kind or "unknown" for kind in KINDS)], splits),
            _table(["check", "result", "where it fails"], checks),
            "<h2>Rows that fail</h2>",
            _table(["line", "id", "reason", "effect"], first),
            "<p><a href='data_docs/index.html'>Data Docs</a></p>",
        ]
    )


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    def line(cells: Sequence[str], tag: str) -> str:
        return "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells)

    body = "".join(f"<tr>{line(row, 'td')}</tr>\n" for row in rows)
    return f"<table><tr>{line(header, 'th')}</tr>\n{body}</table>"
