"""Figures, pictures and links of stages and the gate, as artifacts of the flow run."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from prefect.artifacts import (
    create_image_artifact,
    create_link_artifact,
    create_markdown_artifact,
    create_table_artifact,
)

from tasks.base.workspace import Workspace
from tasks.index.apply_refresh import Refreshed
from tasks.monitoring.drift_report import Drift
from tasks.monitoring.replay_queries import Replayed, told
from tasks.promotion.gate import Decision
from tasks.validation.report import FIGURES
from unbundle.encoding.model_bundle import SETTINGS

_MOST_PICTURE = 1_000_000  # bytes; larger ones are for the report's folder


def report_stage(stage: str, workspace: Workspace) -> None:
    """Leave the figures of a stage that is up to date as a table, and a link to its report.

    The stage `evaluate` leaves the comparison with the baselines besides.
    """
    figures, folder = _places(workspace).get(stage, (None, None))
    if figures and figures.is_file():
        content = json.loads(figures.read_text(encoding="utf-8"))
        table = [{"figure": name, "value": value} for name, value in _flat(content)]
        create_table_artifact(table, key=f"{stage}-figures", description=f"`{figures}`")
        if stage == "evaluate":
            create_markdown_artifact(comparison(content), key="retrieval-comparison")
    if folder and folder.is_dir():
        create_link_artifact(folder.resolve().as_uri(), str(folder), key=f"{stage}-report")
        report_pictures(stage, *(folder / name for name in _PICTURES.get(stage, ())))


def report_decision(decision: Decision) -> None:
    """Leave the gate's decision with every rule."""
    table = [
        {
            "holds": rule.passed,
            "rule": rule.name,
            "because": rule.line,
            "figures": ", ".join(f"{name} {value:.4g}" for name, value in rule.figures.items()),
        }
        for rule in decision.rules
    ]
    serving = decision.champion or "nothing"
    create_table_artifact(
        table,
        key="gate",
        description=f"{decision.candidate}: **{decision.reason}**. Served before: {serving}.",
    )


def report_replay(workspace: Workspace, figures: Replayed) -> None:
    """Leave the figures of a replay, and a link to its page."""
    table = [{"figure": name, "value": value} for name, value in _flat(figures.model_dump())]
    create_table_artifact(table, key="replay-figures", description=told(figures))
    page = (workspace.replay_report / "index.html").resolve()
    create_link_artifact(page.as_uri(), key="replay-report", link_text="the largest changes")


def report_drift(workspace: Workspace, drift: Drift) -> None:
    """Leave every figure of a watch, its picture, and a link to its report."""
    table = [
        {
            "holds": not figure.breached,
            "figure": figure.name,
            "then": round(figure.then, 4),
            "now": round(figure.now, 4),
            "distance": round(figure.distance, 4),
            "limit": figure.limit,
        }
        for figure in drift.figures
    ]
    about = f"**{drift.told}**. {drift.queries} recorded queries."
    create_table_artifact(table, key="drift", description=about)
    report = workspace.watch_report
    report_pictures("watch", report / "drift.png")
    create_link_artifact(report.resolve().as_uri(), str(report), key="drift-report")


def report_pictures(prefix: str, *pictures: Path) -> None:
    """Leave those pictures that are there, each as an artifact `<prefix>-<its name>`."""
    for picture in pictures:
        if picture.is_file() and picture.stat().st_size <= _MOST_PICTURE:
            kind = "png" if picture.suffix == ".png" else "jpeg"
            content = base64.b64encode(picture.read_bytes()).decode()
            key = f"{prefix}-{picture.stem}"
            create_image_artifact(f"data:image/{kind};base64,{content}", key=key)


def report_review(decision: Decision, workspace: Workspace, wait_s: int) -> None:
    """Leave what a person needs to say whether a candidate may serve: rules, figures, pictures."""
    hours = wait_s / 3600
    lines = [
        f"## {decision.candidate} waits for a person",
        f"{decision.reason}. Serves now: {decision.champion or 'nothing'}. Resume this run with "
        f"*approve* or *reject*, your name and a note; without an answer within {hours:g} hours it "
        "is rejected.",
        *(f"- {'✓' if rule.passed else '✗'} {rule.name}: {rule.line}" for rule in decision.rules),
    ]
    if workspace.retrieval_metrics.is_file():
        figures = json.loads(workspace.retrieval_metrics.read_text(encoding="utf-8"))
        lines.append(comparison(figures))
    for name, what in (("answers.jpg", "Answers"), ("worst.jpg", "The worst answers")):
        picture = workspace.retrieval_report / name
        if picture.is_file():
            # In the page itself: the server does not see the worker's disk.
            content = base64.b64encode(picture.read_bytes()).decode()
            lines.append(f"### {what}\n\n![{what}](data:image/jpeg;base64,{content})")
    create_markdown_artifact("\n\n".join(lines), key="review", description=decision.reason)


def report_refresh(refreshed: Refreshed) -> None:
    """Leave what a refresh did, and a link to its receipt."""
    table = [{"outcome": name, "products": count} for name, count in refreshed.counts.items()]
    create_table_artifact(table, key="refresh", description=refreshed.line)
    create_link_artifact(
        refreshed.receipt.resolve().as_uri(), str(refreshed.receipt), key="refresh-receipt"
    )


def report_champion(figures: dict[str, Any]) -> None:
    """Leave how the serving index answers today's queries."""
    table = [{"figure": name, "value": value} for name, value in _flat(figures)]
    create_table_artifact(table, key="champion-figures", description=figures["collection"])


def comparison(figures: dict[str, Any]) -> str:
    """CAPTURE beside the baselines as Markdown, from the figures of `metrics/retrieval.json`."""
    queries = figures["queries"]
    first, values = next(iter(figures["corrected"].items()))
    systems = {"CAPTURE": values} | figures["baselines"]
    columns = list(values)
    lines = [
        f"### {queries['count']:,} queries of split {queries['split']}, corrected, {first}",
        "| | " + " | ".join(columns) + " |",
        "| --- |" + " --- |" * len(columns),
    ]
    for name, summary in systems.items():
        cells = ("{mean:.3f} ({low:.3f} to {high:.3f})".format(**summary[key]) for key in columns)
        lines.append(f"| {name} | {' | '.join(cells)} |")
    lines.append("\nMean and 95 % bootstrap interval over the queries.")
    return "\n".join(lines)


def _places(workspace: Workspace) -> dict[str, tuple[Path, Path | None]]:
    report = workspace.validation_report
    return {
        "validate": (report / FIGURES, report),
        "detect": (workspace.detection_metrics, workspace.detection_report),
        "pretrain": (workspace.pretraining_metrics, workspace.pretraining_report),
        "export": (workspace.bundle / SETTINGS, None),
        "ingest": (workspace.receipt, None),
        "evaluate": (workspace.retrieval_metrics, workspace.retrieval_report),
    }


_PICTURES = {
    "detect": ("predictions.png",),
    "pretrain": ("losses.png",),
    "evaluate": ("curves.png", "answers.jpg", "worst.jpg"),
}


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield `a.b.c` and the value for every leaf; items of a list go by their name, or number."""
    if isinstance(value, dict):
        pairs = value.items()
    elif isinstance(value, list):
        pairs = {_name(item, place): item for place, item in enumerate(value)}.items()
    else:
        yield path, value
        return
    for key, item in pairs:
        yield from _flat(item, f"{path}.{key}".lstrip("."))


def _name(item: Any, place: int) -> str:
    return str(item.get("name", place)) if isinstance(item, dict) else str(place)
