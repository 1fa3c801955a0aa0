"""Stage `evaluate`: every labelled query is asked of the fresh collection, as a client asks it.

    python -m tasks.evaluate

Both protocols, slices, the causes of misses and the baselines go to `metrics/retrieval.json`, the
ten of these figures that people compare to `metrics/headline.json`;
what the gate and people read beside it goes to `reports/retrieval/`, the rankings in Product1M's
format to `rankings/`. Rankings of any system are scored on Product1M's annotation files with

    python -m tasks.evaluate --rankings FILE --annotations DIR --protocol official --out FILE
"""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from tasks.base.params import Params, load_params
from tasks.base.progress import console
from tasks.base.stage_command import run_stage
from tasks.base.workspace import Workspace
from tasks.evaluation.diagnose_rankings import diagnose
from tasks.evaluation.headline_figures import headline
from tasks.evaluation.measure_champion import measure_champion
from tasks.evaluation.queries import read_queries, retrieve
from tasks.evaluation.report import (
    COVERAGE,
    RELIABILITY,
    coverage_curves,
    print_table,
    reliability_curve,
    write_report,
)
from tasks.evaluation.retrieval_figures import figures, score
from tasks.evaluation.score_rankings_file import Protocol, Split, score_file
from tasks.index.ingestion_receipt import Receipt, milvus_uri
from tasks.metrics.rankings_file import write_rankings
from unbundle.base.atomic import write_json
from unbundle.base.errors import UserError
from unbundle.query.search import ProductSearch


def evaluate(workspace: Workspace, params: Params) -> None:
    """Measure the collection of `artifacts/ingestion.json` on the labelled queries.

    Raises:
        UserError: no receipt, no bundle of the collection, no collection, no labelled query.
    """
    receipt = Receipt.read(workspace.receipt)
    queries = read_queries(workspace, params)
    uri = milvus_uri(workspace, params.ingest)
    with ProductSearch(workspace.bundle, uri, receipt.collection) as search:
        found = retrieve(search, queries, params.evaluate.depth)
        rows, count = search.gallery.rows, search.gallery.count()
        bundle = search.encoder.bundle
    diagnosis = diagnose(queries, found, rows, bundle, params.evaluate)
    rankings = found.merged(queries)
    fitted = bundle.embedding.fitted_on
    half_fitted = fitted.split if fitted and fitted.half else None
    scores = score(rankings, diagnosis.baselines, queries, half_fitted, params)
    facts = {
        "collection": receipt.collection,
        "bundle": receipt.bundle,
        "rows": {"collection": count, "gallery": len(queries.gallery)},
    }
    write_rankings(workspace.rankings, rankings.items())
    values = facts | figures(scores, queries, diagnosis, bundle.open_set, params)
    systems = {"CAPTURE": rankings, **diagnosis.baselines}
    curves = {
        COVERAGE: coverage_curves(systems, queries, params.evaluate.depth),
        RELIABILITY: reliability_curve(values["known"]),
    }
    misses = diagnosis.misses
    write_report(workspace, queries, found, rows, misses, scores, curves, params.evaluate)
    write_json(workspace.retrieval_metrics, values)
    write_json(workspace.headline_metrics, headline(values))
    print_table(scores, f"{len(rankings)} queries of split {queries.split}", params)
    if values["known"]:
        console.print(
            "  not in the catalogue: AUROC {auroc:.3f}; {false_accepts:.0%} of unknown products "
            "taken for known, {false_rejects:.0%} of known ones for unknown".format(
                **values["known"]
            )
        )
    console.print(
        f"  figures → {workspace.retrieval_metrics}, pictures → {workspace.retrieval_report}"
    )


def command(
    rankings: Annotated[
        Path | None, typer.Option(help="Product1M's retrieval_id_list.txt; none: the stage.")
    ] = None,
    annotations: Annotated[
        Path | None, typer.Option(help="Folder of product1m_{gallery,dev,test}_ossurl_v2.txt.")
    ] = None,
    protocol: Annotated[Protocol, typer.Option(help="How to score.")] = "official",
    split: Annotated[
        Split, typer.Option(help="Whose queries; all: of both files, as the published script.")
    ] = "test",
    out: Annotated[Path | None, typer.Option(help="Where to write the JSON as well.")] = None,
    champion: Annotated[
        bool, typer.Option("--champion", help="Measure the serving index, live changes included.")
    ] = False,
) -> None:
    """Measure the fresh collection, or score a rankings file on Product1M's annotations."""
    params = load_params()
    if champion:
        measure_champion(Workspace(), params)
        return
    if rankings is None and annotations is None:
        evaluate(Workspace(), params)
        return
    if rankings is None or annotations is None:
        raise UserError("--rankings and --annotations belong together: give both, or neither")
    result = score_file(rankings, annotations, protocol, split, params)
    if out is not None:
        write_json(out, result)
    typer.echo(json.dumps(result, ensure_ascii=False, indent=2))


def _from_arguments(workspace: Workspace, params: Params) -> None:
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    if not arguments:
        evaluate(workspace, params)
        return
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(command)
    app(arguments, prog_name="python -m tasks.evaluate")


if __name__ == "__main__":
    run_stage(_from_arguments)
