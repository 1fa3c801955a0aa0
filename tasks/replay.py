"""Shadow replay: what a candidate would have answered to the queries that clients asked.

    python -m tasks.replay

Reads what `unbundle serve --record` kept, asks the candidate of `artifacts/ingestion.json` the same
and leaves `reports/replay/`: the figures, and a page with the largest changes side by side.
Nothing that clients see changes. A record without photo and title can be replayed by the bundle
that made its vectors alone.
"""

from tasks.base.params import Params
from tasks.base.progress import console
from tasks.base.stage_command import run_stage
from tasks.base.workspace import Workspace
from tasks.index.ingestion_receipt import Receipt, milvus_uri
from tasks.monitoring.replay_queries import Replayed, recent_records, replay, told
from unbundle.base.errors import UserError
from unbundle.query.search import ProductSearch


def replay_candidate(workspace: Workspace, params: Params) -> Replayed:
    """Ask the candidate what clients asked; write `reports/replay/`.

    Raises:
        UserError: nothing was recorded, nothing was ingested, or the bundle is of another index.
    """
    from tasks.monitoring.replay_page import write_report

    receipt = Receipt.read(workspace.receipt)
    records = recent_records(workspace, params.replay)
    if not records:
        raise UserError(
            f"{workspace.root / params.replay.records}: no recorded query; serve with "
            f"`unbundle serve --record {params.replay.records} --record-content`"
        )
    with ProductSearch(
        workspace.bundle, milvus_uri(workspace, params.ingest), receipt.collection
    ) as search:
        figures, changes = replay(search, records, params.replay)
    write_report(workspace, figures, changes, params.replay)
    console.print(f"  {told(figures)}")
    console.print(f"  page → {workspace.replay_report}/index.html")
    return figures


def _replay_or_fail(workspace: Workspace, params: Params) -> None:
    replay_candidate(workspace, params)


if __name__ == "__main__":
    run_stage(_replay_or_fail)
