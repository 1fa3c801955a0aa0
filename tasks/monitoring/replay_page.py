"""The page of a replay: figures, and the largest changes side by side; one file, no scripts."""

import base64
import html
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tasks.base.params import Replay as Settings
from tasks.base.workspace import Workspace
from tasks.evaluation.contact_sheet import Card, draw_sheet
from tasks.monitoring.replay_queries import AnswerChange, Replayed, told
from unbundle.base.atomic import atomic_folder, write_json
from unbundle.recording.query_log import Seen

_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>unbundle: replay of {candidate}</title>
<style>
body {{ font: 16px sans-serif; margin: 2em }} img {{ max-width: 100% }}
table {{ border-collapse: collapse }} td, th {{ padding: .2em .8em; text-align: left }}
</style>
<h1>Replay of {candidate}</h1>
<p>{told}.</p>
<table><tr><th>skipped because</th><th>queries</th></tr>{skipped}</table>
<h2>The largest changes</h2>
<p>Left what was served, right what the candidate answers; a row of products for each box. Framed
green: both answers name the product. Red: only this one does.</p>
{changes}
</html>
"""


def write_report(
    workspace: Workspace, figures: Replayed, changes: Sequence[AnswerChange], settings: Settings
) -> None:
    """Write `reports/replay/`: `replay.json` and `index.html`, which holds its pictures.

    Args:
        workspace: whose catalogue has the products' photos.
        figures: of the replay.
        changes: the largest first; `replay.pictures` of those whose photo was kept are shown.
        settings: how many.
    """
    shown = [change for change in changes if change.record.photo and change.changed]
    with atomic_folder(workspace.replay_report) as folder:
        write_json(folder / "replay.json", figures.model_dump())
        page = _PAGE.format(
            candidate=html.escape(figures.candidate),
            told=html.escape(told(figures)),
            skipped="".join(
                f"<tr><td>{html.escape(reason)}</td><td>{count}</td></tr>"
                for reason, count in figures.skipped.items()
            ),
            changes="\n".join(
                _change(change, workspace.catalogue) for change in shown[: settings.pictures]
            )
            or "<p>No changed query has a photo to show.</p>",
        )
        (folder / "index.html").write_text(page, encoding="utf-8")


def _change(change: AnswerChange, catalogue: Path) -> str:
    with tempfile.TemporaryDirectory() as name:
        photo, sheet = Path(name) / "photo", Path(name) / "sheet.jpg"
        photo.write_bytes(base64.b64decode(change.record.photo or ""))
        sides = [(change.then, change.now), (change.now, change.then)]
        draw_sheet(sheet, [_card(photo, mine, other, catalogue) for mine, other in sides])
        picture = base64.b64encode(sheet.read_bytes()).decode()
    title = html.escape(change.record.caption or "without a title")
    moment = change.record.time.isoformat(sep=" ", timespec="seconds")
    return (
        f"<h3>{title}</h3><p>{moment}, {change.overlap:.0%} of the products stay</p>"
        f'<img src="data:image/jpeg;base64,{picture}" alt="{title}">'
    )


def _card(
    photo: Path, mine: Sequence[Seen | None], others: Sequence[Seen | None], catalogue: Path
) -> Card:
    pairs = [(seen, other) for seen, other in zip(mine, others, strict=True) if seen is not None]
    boxes = [seen.box for seen, _ in pairs if seen.box is not None]
    return Card(
        photo=photo,
        boxes=np.asarray(boxes, np.float32).reshape(-1, 4),
        hits=[
            [
                (catalogue / image, other is not None and product in other.products)
                for product, image in zip(seen.products, seen.images, strict=True)
                if (catalogue / image).is_file()
            ]
            for seen, other in pairs
        ],
    )
