"""DVC's plots as one page that needs no network and no scripts.

    python -m flows.reporting.plots              # the workspace -> reports/plots.html
    python -m flows.reporting.plots main other   # revisions or experiments side by side

The page of `dvc plots show` and `dvc plots diff` loads its scripts from another host.
"""

import html
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
import vl_convert

from tasks import OFF
from tasks.base.workspace import Workspace
from unbundle.base.atomic import atomic_file
from unbundle.base.errors import UserError, told_in_one_line

_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>unbundle: plots</title>
<style>body {{ font: 16px sans-serif; margin: 2em }} svg {{ max-width: 100% }}</style>
<h1>Plots of {revisions}</h1>
{plots}
</html>
"""


def write_plots(workspace: Workspace, revisions: Sequence[str]) -> Path:
    """Draw the plots that `dvc.yaml` declares; the page holds them as pictures.

    Args:
        workspace: whose `reports/plots.html` is written.
        revisions: what to compare; empty for the workspace alone.

    Returns:
        The page.

    Raises:
        UserError: DVC fails, such as for an unknown revision, or nothing is there to plot.
    """
    answer = _ask_dvc(workspace.root, revisions)
    missing = [
        f"<p>{html.escape(error['name'])}: no data at {html.escape(error['rev'])} "
        f"({html.escape(error['msg'])})</p>"
        for error in answer.get("errors", [])
    ]
    plots = [
        f"<h2>{html.escape(name)}</h2>\n{vl_convert.vegalite_to_svg(one['content'])}"
        for name, drawn in answer.get("data", {}).items()
        for one in drawn
        if one["type"] == "vega"
    ]
    if not plots:
        raise UserError(f"{workspace.root}: nothing to plot; run `dvc repro` or `dvc pull`")
    shown = html.escape(", ".join(revisions) or "the workspace")
    with atomic_file(workspace.plots) as page:
        page.write_text(
            _PAGE.format(revisions=shown, plots="\n".join(plots + missing)), encoding="utf-8"
        )
    return workspace.plots


def _ask_dvc(root: Path, revisions: Sequence[str]) -> Any:
    how = ["diff", *revisions] if revisions else ["show"]
    done = subprocess.run(
        [sys.executable, "-m", "dvc", "plots", *how, "--json"],
        cwd=root,
        env=os.environ | OFF,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR: ")]
        raise UserError((lines or ["ERROR: dvc plots failed"])[0].removeprefix("ERROR: "))
    return json.loads(done.stdout)


def command(
    revisions: Annotated[
        list[str] | None, typer.Argument(help="Revisions or experiments; none: the workspace.")
    ] = None,
) -> None:
    """Draw DVC's plots into reports/plots.html, which needs no network."""
    typer.echo(f"plots: {write_plots(Workspace(), revisions or [])}")


if __name__ == "__main__":
    with told_in_one_line(debug=False):
        typer.run(command)
