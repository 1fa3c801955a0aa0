"""The loss curves of pretraining: figures for DVC's plots and a picture for people."""

from pathlib import Path

import numpy as np

from tasks.base.plot_curves import write_curves
from unbundle.base.atomic import atomic_file, atomic_folder

_COLUMNS = 3


def write_report(folder: Path, history: dict[str, list[float]]) -> None:
    """Write `losses.csv` (step, one column a loss) and `losses.png` into `folder`."""
    with atomic_folder(folder) as temporary:
        steps = range(1, len(next(iter(history.values()))) + 1)
        write_curves(temporary / "losses.csv", {"step": steps, **history})
        _picture(temporary / "losses.png", history)


def _picture(path: Path, history: dict[str, list[float]]) -> None:
    from matplotlib.figure import Figure

    rows = -(-len(history) // _COLUMNS)
    figure = Figure(figsize=(4 * _COLUMNS, 3 * rows), layout="constrained")
    for place, (name, values) in enumerate(history.items(), start=1):
        axes = figure.add_subplot(rows, _COLUMNS, place)
        axes.plot(values, color="#9db4c0", linewidth=0.8)
        window = max(1, len(values) // 20)
        smooth = np.convolve(values, np.ones(window) / window, mode="valid")
        axes.plot(np.arange(len(smooth)) + window / 2, smooth, color="#253237", linewidth=1.6)
        axes.set_title(name)
        axes.set_xlabel("step")
    with atomic_file(path) as temporary:
        figure.savefig(temporary, dpi=110)
