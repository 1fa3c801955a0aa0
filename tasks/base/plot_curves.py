"""Curves of the figures: a CSV for DVC's plots, and a picture that any reader opens."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from unbundle.base.atomic import atomic_file

Columns = Mapping[str, Sequence[float]]


@dataclass(frozen=True)
class Curves:
    """One panel: the first column is `x`, every other one a curve."""

    title: str
    columns: Columns
    diagonal: bool = False
    """Whether the ideal is drawn: y = x."""


def write_curves(path: Path, columns: Columns) -> None:
    """Write columns of equal length `[N]` as CSV, six digits; without rows where N is 0."""
    with atomic_file(path) as temporary:
        pd.DataFrame(columns).to_csv(temporary, index=False, float_format="%.6f")


def draw_curves(path: Path, panels: Sequence[Curves]) -> None:
    """Draw panels side by side into a picture."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5 * len(panels), 4), layout="constrained")
    for place, panel in enumerate(panels, start=1):
        axes = figure.add_subplot(1, len(panels), place)
        x, *curves = panel.columns
        for name in curves:
            axes.plot(panel.columns[x], panel.columns[name], label=name, marker=".", markersize=3)
        if panel.diagonal:
            axes.plot([0, 1], [0, 1], color="#9db4c0", linewidth=0.8)
        axes.set(title=panel.title, xlabel=x, ylim=(0, 1.02))
        axes.legend(fontsize="small")
    with atomic_file(path) as temporary:
        figure.savefig(temporary, dpi=110)
