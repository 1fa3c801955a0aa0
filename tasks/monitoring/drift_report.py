"""The report of a drift watch: JSON, CSV and a picture."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd

from tasks.base.workspace import Workspace
from tasks.monitoring.drift import Figure
from unbundle.base.atomic import atomic_file, atomic_folder, write_json


@dataclass(frozen=True)
class Drift:
    """What a watch found.

    Attributes:
        collection: the champion.
        queries: recorded ones that its bundle answered.
        figures: the furthest beyond its limit first.
    """

    collection: str
    queries: int
    figures: Sequence[Figure]

    @property
    def breached(self) -> list[Figure]:
        """What is too far away."""
        return [figure for figure in self.figures if figure.breached]

    @property
    def told(self) -> str:
        """The finding in a line."""
        if self.breached:
            others = f" (and {len(self.breached) - 1} more)" if len(self.breached) > 1 else ""
            return f"{self.collection}: drifted: {self.breached[0].line}{others}"
        return f"{self.collection}: {len(self.figures)} figures are as they were"


def write_report(workspace: Workspace, drift: Drift) -> None:
    """Write `reports/watch/`: the figures as JSON and CSV, and a picture of the distances."""
    table = [asdict(figure) | {"breached": figure.breached} for figure in drift.figures]
    with atomic_folder(workspace.watch_report) as folder:
        about = {"collection": drift.collection, "queries": drift.queries}
        write_json(folder / "drift.json", about | {"figures": table})
        pd.DataFrame(table).to_csv(folder / "drift.csv", index=False)
        _draw(folder / "drift.png", drift.figures)


def _draw(path: Path, figures: Sequence[Figure]) -> None:
    """Bars of the distances, each with its limit."""
    from matplotlib.figure import Figure as Canvas

    canvas = Canvas(figsize=(9, 0.32 * len(figures) + 0.8), layout="constrained")
    axes = canvas.add_subplot()
    names = [figure.name for figure in figures][::-1]
    colours = ["#c8283c" if figure.breached else "#9db4c0" for figure in figures][::-1]
    axes.barh(names, [figure.distance for figure in figures][::-1], color=colours)
    limits = [figure.limit for figure in figures][::-1]
    axes.scatter(limits, names, marker="|", color="#253237", s=120)
    axes.set(xlabel="distance, and its limit", xlim=(0, 1))
    with atomic_file(path) as temporary:
        canvas.savefig(temporary, dpi=110)
