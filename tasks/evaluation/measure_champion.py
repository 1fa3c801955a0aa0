"""How the serving index answers today's queries, live changes included; no gate, no promotion."""

from datetime import UTC, datetime
from typing import Any

from tasks.base.params import DEPTH, Params
from tasks.base.progress import console
from tasks.base.workspace import Workspace
from tasks.evaluation.queries import read_queries, retrieve
from tasks.index.ingestion_receipt import milvus_uri
from tasks.metrics.ranking import corrected
from unbundle.base.atomic import write_json
from unbundle.index.milvus_database import CHAMPION
from unbundle.query.search import ProductSearch


def measure_champion(workspace: Workspace, params: Params) -> dict[str, Any]:
    """Ask the serving index every labelled query; write `reports/champion.json`.

    Raises:
        UserError: nothing is promoted, its bundle is gone, or no query is labelled.
    """
    queries = read_queries(workspace, params)
    with ProductSearch(workspace.bundles, milvus_uri(workspace, params.ingest), CHAMPION) as search:
        rankings = retrieve(search, queries, params.evaluate.depth).merged(queries)
        facts = {
            "collection": search.gallery.name,
            "bundle": search.encoder.bundle.version,
            "rows": search.gallery.count(),
        }
    values = corrected(
        rankings, queries.labels, queries.gallery, params.evaluate.depths, queries.junk
    )
    summaries = {
        f"top{k}": values.summary(k, params.evaluate.resamples, params.seed)
        for k in params.evaluate.depths
    }
    figures = facts | {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "queries": {"count": len(rankings), "split": queries.split, "composed": queries.composed},
        "corrected": summaries,
    }
    write_json(workspace.champion_metrics, figures)
    first = summaries[f"top{DEPTH}"]
    means = ", ".join(f"{name} {summary['mean']:.3f}" for name, summary in first.items())
    console.print(f"  {facts['collection']}: {means} → {workspace.champion_metrics}")
    return figures
