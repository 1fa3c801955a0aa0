"""Drift watch: are queries and catalogue still what the champion was judged on?

    python -m tasks.watch

`tasks.promote` writes a candidate's profile, from the labelled queries that the gate judges it on
and from photos and titles of the gallery, into its collection; this compares it with the queries
that `unbundle serve --record` kept and with today's manifest. Figures go to `reports/watch/`.
"""

from pathlib import Path

from tasks.base.params import Params
from tasks.base.progress import console
from tasks.base.stage_command import run_stage
from tasks.base.workspace import Workspace
from tasks.index.ingestion_receipt import milvus_uri
from tasks.monitoring.champion_profile import catalogue_facts, kept_profile
from tasks.monitoring.drift import compare
from tasks.monitoring.drift_report import Drift, write_report
from unbundle.base.errors import UserError
from unbundle.query.search import ProductSearch
from unbundle.recording.query_log import Record, read_records


def watch(workspace: Workspace, params: Params) -> Drift:
    """Compare what comes in with the champion's profile; write `reports/watch/`.

    Raises:
        UserError: nothing is promoted, the champion has no profile, or there is nothing to compare.
    """
    settings = params.watch
    with ProductSearch(workspace.bundles, milvus_uri(workspace, params.ingest)) as search:
        then = kept_profile(search)
        version = search.encoder.bundle.version
        records = _recent(workspace.root / params.replay.records, version, settings.queries)
        today = catalogue_facts(search, workspace, settings) if workspace.manifest.is_file() else []
        drift = Drift(search.gallery.name, len(records), compare(then, records, today, settings))
    if not drift.figures:
        raise UserError(
            f"{workspace.root}: neither recorded queries nor a manifest to compare; serve with "
            f"`unbundle serve --record {params.replay.records}`"
        )
    write_report(workspace, drift)
    for figure in drift.figures:
        console.print(f"  {'BREACHED' if figure.breached else 'holds'}: {figure.line}")
    if len(records) < settings.min_queries:
        console.print(
            f"  {len(records)} recorded queries of bundle {version}, fewer than "
            f"{settings.min_queries}: they are not judged"
        )
    return drift


def _recent(folder: Path, version: str, most: int) -> list[Record]:
    # Another bundle's vectors and scores are of another space.
    found = [record for record in read_records(folder) if record.bundle == version]
    return sorted(found, key=lambda record: record.time)[-most:]


def _watch_or_fail(workspace: Workspace, params: Params) -> None:
    drift = watch(workspace, params)
    console.print(f"  {drift.told}")


if __name__ == "__main__":
    run_stage(_watch_or_fail)
