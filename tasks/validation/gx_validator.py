"""Runs checks with Great Expectations and renders its Data Docs.

Great Expectations takes seconds to import, so that happens with the first `Validator`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from tasks.validation.checks import Check

SITE = "local"


@dataclass(frozen=True)
class CheckResult:
    """What a check found.

    Attributes:
        check: the check.
        holds: whether it holds everywhere.
        failures: why a row fails it, by the row's index; empty where it is of the whole table.
    """

    check: Check
    holds: bool
    failures: dict[int, str]


class Validator:
    """An ephemeral Great Expectations context, without progress bars and network."""

    def __init__(self, docs: Path | None) -> None:
        """Create the context; its Data Docs go to the folder `docs`, if any."""
        import great_expectations as gx
        from great_expectations.data_context.types.base import (
            DataContextConfig,
            InMemoryStoreBackendDefaults,
        )

        # The default stores would leave a folder in /tmp on every run.
        stores = InMemoryStoreBackendDefaults(init_temp_docs_sites=False)
        self._context = gx.get_context(
            project_config=DataContextConfig(
                store_backend_defaults=stores,
                progress_bars={"globally": False},
                analytics_enabled=False,
            ),
            mode="ephemeral",
        )
        self._docs = docs
        if docs is not None:
            self._add_docs(docs)
        self._source = self._context.data_sources.add_pandas("catalogue")

    def _add_docs(self, docs: Path) -> None:
        self._context.add_data_docs_site(
            site_name=SITE,
            site_config={
                "class_name": "SiteBuilder",
                "show_how_to_buttons": False,
                "store_backend": {
                    "class_name": "TupleFilesystemStoreBackend",
                    "base_directory": str(docs.resolve()),
                },
                "site_index_builder": {
                    "class_name": "DefaultSiteIndexBuilder",
                    "show_cta_footer": False,
                },
            },
        )

    def run(self, suite: str, frame: pd.DataFrame, checks: Sequence[Check]) -> list[CheckResult]:
        """Run checks on a table as the suite of that name, and add it to the Data Docs.

        Args:
            suite: a name.
            frame: its index names the rows in the findings.
            checks: on columns of `frame`.
        """
        import great_expectations as gx
        from great_expectations.checkpoint import UpdateDataDocsAction

        asset = self._source.add_dataframe_asset(suite)
        definition = gx.ValidationDefinition(
            name=suite,
            data=asset.add_batch_definition_whole_dataframe("all"),
            suite=self._context.suites.add(
                gx.ExpectationSuite(suite, expectations=[_expectation(check) for check in checks])
            ),
        )
        self._context.validation_definitions.add(definition)
        checkpoint = gx.Checkpoint(
            name=suite,
            validation_definitions=[definition],
            actions=[UpdateDataDocsAction(name="docs", site_names=[SITE])] if self._docs else [],
            # All failing rows by their index, fast: COMPLETE with index columns takes 16 s for
            # 100,000 of them, this 0.6 s.
            result_format={
                "result_format": "SUMMARY",
                "partial_unexpected_count": len(frame) + 1,
            },
        )
        # A named index would come back slowly, as dictionaries.
        outcome = self._context.checkpoints.add(checkpoint).run(
            {"dataframe": frame.rename_axis(None)}
        )
        (results,) = outcome.run_results.values()
        by_name = {result.expectation_config.meta["check"]: result for result in results.results}
        return [_finding(check, by_name[check.name], frame) for check in checks]


def _expectation(check: Check) -> Any:
    import great_expectations.expectations as classes

    build = getattr(classes, check.expectation)
    return build(**check.options, description=check.name, meta={"check": check.name})


def _finding(check: Check, result: Any, frame: pd.DataFrame) -> CheckResult:
    if result.exception_info.get("raised_exception"):
        raise RuntimeError(f"{check.name}: {result.exception_info['exception_message']}")
    lines = [int(line) for line in result.result.get("partial_unexpected_index_list") or []]
    rows = frame.loc[lines].to_dict("records")
    reasons = [check.reason.format_map(row) for row in rows]
    return CheckResult(check, bool(result.success), dict(zip(lines, reasons, strict=True)))
