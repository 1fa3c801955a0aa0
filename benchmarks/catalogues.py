"""The whole pipeline on catalogues that nobody tuned to, with the parameters as they ship.

    python -m benchmarks.catalogues demo /path/to/catalogue ... --seeds 7,8,9 --work /tmp/catalogues

Every catalogue folder gets a workspace of its own below `--work`; `demo` is the rendered one. The
stages before `pretrain` run once, with the first seed; from there on each seed runs by itself. What
ran is not run again: a stage leaves a mark, a seed its figures, so an interrupted benchmark goes on
where it ended. Printed are means over seeds, with their spread (largest less smallest).
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Annotated, Any

import typer
import yaml

REPOSITORY = Path(__file__).parents[1]

SHARED = ("catalogue", "validate", "compose_queries", "detect", "features", "views")
SEEDED = ("pretrain", "export", "ingest", "evaluate")

PLAIN = ("image", "title", "late fusion", "late fusion per instance")
"""Baselines that nothing was trained for."""

Figures = Mapping[str, Any]


def main(
    catalogues: Annotated[list[str], typer.Argument(help="folders, or `demo`")],
    seeds: Annotated[str, typer.Option(help="of the trainings")] = "7,8,9",
    work: Annotated[Path, typer.Option(help="for workspaces and figures")] = Path(
        "/tmp/catalogues"
    ),
) -> None:
    """Run what has not run yet and print the tables of all."""
    numbers = [int(seed) for seed in seeds.split(",")]
    found = {name: measured(name, numbers, work) for name in catalogues}
    for title, rows in TABLES.items():
        print(f"\n{title}\n")
        print(f"| | {' | '.join(Path(name).name for name in found)} |")
        print(f"| --- |{' --- |' * len(found)}")
        for row, figure in rows.items():
            cells = [_cell([figure(one) for one in runs]) for runs in found.values()]
            print(f"| {row} | {' | '.join(cells)} |")


def measured(catalogue: str, seeds: Sequence[int], work: Path) -> list[Figures]:
    """The figures of each seed's run on a catalogue."""
    place = hashlib.sha256(str(Path(catalogue).resolve()).encode()).hexdigest()[:6]
    workspace = work / (catalogue if catalogue == "demo" else f"{Path(catalogue).name}-{place}")
    marks = workspace / "ran"
    marks.mkdir(parents=True, exist_ok=True)
    runs = []
    for seed in seeds:
        kept = workspace / f"seed-{seed}.json"
        if not kept.exists():
            _write_params(workspace, catalogue, seeds[0])
            _run(SHARED, workspace, marks)
            for stage in SEEDED:
                (marks / stage).unlink(missing_ok=True)
            # Checkpoints of another seed stay valid; its index and bundle are nobody's any more.
            shutil.rmtree(workspace / "data/milvus.db", ignore_errors=True)
            _write_params(workspace, catalogue, seed)
            _run(SEEDED, workspace, marks)
            kept.write_text(json.dumps(_figures(workspace, marks)))
        runs.append(json.loads(kept.read_text()))
    return runs


def _write_params(workspace: Path, catalogue: str, seed: int) -> None:
    params = yaml.safe_load((REPOSITORY / "params.yaml").read_text())
    params["seed"] = seed
    if catalogue == "demo":
        params["catalogue"]["path"] = str(REPOSITORY / params["catalogue"]["path"])
    else:
        params["catalogue"] |= {"source": "folder", "path": str(Path(catalogue).resolve())}
    (workspace / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))


def _run(stages: Iterable[str], workspace: Path, marks: Path) -> None:
    own = {name: value for name, value in os.environ.items() if not name.startswith("MILVUS_")}
    environment = own | {
        "PYTHONPATH": str(REPOSITORY), "OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0"
    }  # fmt: skip
    for stage in stages:
        if (marks / stage).exists():
            continue
        print(f"{workspace.name}: {stage}", file=sys.stderr, flush=True)
        start = time.monotonic()
        command = [sys.executable, "-m", f"tasks.{stage}"]
        with (workspace / "log").open("ab") as log:
            subprocess.run(
                command, cwd=workspace, env=environment, stdout=log, stderr=log, check=True
            )
        (marks / stage).write_text(str(time.monotonic() - start))


def _figures(workspace: Path, marks: Path) -> Figures:
    minutes = sum(float((marks / stage).read_text()) for stage in (*SHARED, *SEEDED)) / 60
    return {
        "retrieval": json.loads((workspace / "metrics/retrieval.json").read_text()),
        "detection": json.loads((workspace / "metrics/detection.json").read_text()),
        "minutes": minutes,
    }


Mean = Mapping[str, float]
"""`mean`, and perhaps its interval `low` to `high`."""


def _corrected(k: int, metric: str) -> Callable[[Figures], Mean | None]:
    def figure(run: Figures) -> Mean | None:
        found: Mean | None = run["retrieval"]["corrected"].get(f"top{k}", {}).get(metric)
        return found

    return figure


def _slice(name: str, metric: str) -> Callable[[Figures], Mean | None]:
    def figure(run: Figures) -> Mean | None:
        found: Mean | None = run["retrieval"]["slices"].get(name, {}).get(metric)
        return found

    return figure


def _baseline(name: str, metric: str) -> Callable[[Figures], Mean | None]:
    def figure(run: Figures) -> Mean | None:
        found: Mean = run["retrieval"]["baselines"][name][metric]
        return found

    return figure


def _known(name: str) -> Callable[[Figures], Mean | None]:
    def figure(run: Figures) -> Mean | None:
        known = run["retrieval"]["known"]
        return None if known is None else {"mean": known[name]}

    return figure


def _detected(name: str) -> Callable[[Figures], Mean | None]:
    def figure(run: Figures) -> Mean | None:
        split = run["detection"].get(run["retrieval"]["queries"]["split"], {})
        return {"mean": split[name]} if name in split else None

    return figure


def _rows(
    figure: Callable[[str, str], Callable[[Figures], Mean | None]], names: Sequence[str]
) -> dict[str, Callable[[Figures], Mean | None]]:
    return {
        f"{name}, {metric}@10": figure(name, metric)
        for name in names
        for metric in ("mAP", "coverage")
    }


TABLES: Mapping[str, Mapping[str, Callable[[Figures], Mean | None]]] = {
    "Retrieval": {
        f"{metric}@{k}": _corrected(k, metric) for metric in ("mAP", "coverage") for k in (10, 50)
    },
    "Nothing trained": _rows(_baseline, PLAIN),
    "By number of products": _rows(
        _slice, [f"products={count}" for count in ("1", "2", "3", "4+")]
    ),
    "Not in the catalogue": {
        "AUROC": _known("auroc"),
        "strangers that pass": _known("false_accepts"),
        "known refused": _known("false_rejects"),
    },
    "Boxes": {name: _detected(name) for name in ("ap50", "recall90", "right_count")},
    "Cost": {"minutes of a run": lambda run: {"mean": run["minutes"]}},
}


def _cell(values: Sequence[Mean | None]) -> str:
    found = [value for value in values if value is not None]
    if not found:
        return "–"
    means = [value["mean"] for value in found]
    cell = f"{fmean(means):.3f}"
    if "low" in found[0]:
        low, high = (fmean(value[end] for value in found) for end in ("low", "high"))
        cell += f" ({low:.3f} to {high:.3f})"
    if len(means) > 1:
        cell += f", spread {max(means) - min(means):.3f}"
    return cell


if __name__ == "__main__":
    typer.run(main)
