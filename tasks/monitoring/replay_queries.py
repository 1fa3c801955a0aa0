"""Recorded queries asked again, of another index: what changes in their answers."""

import base64
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from tasks.base.params import Replay as Settings
from tasks.base.progress import track
from tasks.base.workspace import Workspace
from unbundle.base.errors import UserError
from unbundle.index.gallery_collection import Neighbours
from unbundle.query.rerank import rescored_neighbours
from unbundle.query.search import Answer, ProductSearch
from unbundle.recording.query_log import Record, Seen, read_records
from unbundle.vision.boxes import intersection_over_union
from unbundle.vision.geometric_verification import NONE, Evidence

Skipped = Literal["filtered", "no photo or title was kept", "not answered"]


@dataclass(frozen=True)
class AnswerChange:
    """One query: what was answered then, and what the candidate answers.

    Attributes:
        record: of the query.
        now: instances as the candidate sees them, in the order of the recorded ones where they are
            the same product; None where it sees none there. Instances that only the candidate sees
            follow, beside None in `then`.
        then: the recorded instances.
        changed: whether the first product of any instance differs, or an instance came or went.
        overlap: share of the products that both answers name, 0 to 1, mean over the instances.
        milliseconds: that the candidate took; None where only its index was asked.
    """

    record: Record
    then: tuple[Seen | None, ...]
    now: tuple[Seen | None, ...]
    changed: bool
    overlap: float
    milliseconds: float | None


class Replayed(BaseModel):
    """The figures of one replay."""

    model_config = ConfigDict(frozen=True)

    candidate: str
    records: int
    replayed: int
    skipped: dict[str, int]
    changed: float
    """Share of the replayed queries with another first product."""
    overlap: float
    """Mean share of products that both answers name."""
    recorded_ms: float | None
    """Median time of the replayed queries as they were served."""
    candidate_ms: float | None
    """The same queries' on this machine now; None where only vectors were searched."""


def recent_records(workspace: Workspace, settings: Settings) -> list[Record]:
    """The newest recorded queries, `replay.queries` of them at most; the oldest first."""
    folder = workspace.root / settings.records
    return sorted(read_records(folder), key=lambda record: record.time)[-settings.queries :]


def replay(
    search: ProductSearch, records: Sequence[Record], settings: Settings
) -> tuple[Replayed, list[AnswerChange]]:
    """Ask an index what was asked before.

    Args:
        search: the candidate.
        records: of served queries.
        settings: depth and matching.

    Returns:
        The figures, and every replayed query, the largest changes first.
    """
    skipped: Counter[str] = Counter()
    changes = []
    for record in track(records, f"recorded queries to {search.gallery.name}"):
        found = _ask(search, record, settings)
        if isinstance(found, str):
            skipped[found] += 1
        else:
            changes.append(_compare(record, *found, settings))
    changes.sort(key=lambda change: (not change.changed, change.overlap))
    return _figures(search.gallery.name, len(records), skipped, changes), changes


def told(figures: Replayed) -> str:
    """The figures in a line."""
    times = ""
    if figures.candidate_ms is not None and figures.recorded_ms is not None:
        times = f"; {figures.candidate_ms:.0f} ms a query, served in {figures.recorded_ms:.0f} ms"
    return (
        f"{figures.replayed} of {figures.records} recorded queries replayed: the first product "
        f"changes for {figures.changed:.1%}, {figures.overlap:.1%} of the products stay{times}"
    )


def _ask(
    search: ProductSearch, record: Record, settings: Settings
) -> tuple[tuple[Seen, ...], float | None] | Skipped:
    if record.filtered:
        return "filtered"
    if record.caption is None:
        return _ask_index(search, record, settings)
    photo = None if record.photo is None else base64.b64decode(record.photo)
    boxes = None
    if record.boxes_given:
        boxes = [seen.box for seen in record.instances if seen.box]
    started = time.perf_counter()
    try:
        answer = search(photo, record.caption, settings.depth, boxes)
    except UserError:
        return "not answered"
    return _seen(answer), 1000 * (time.perf_counter() - started)


def _ask_index(
    search: ProductSearch, record: Record, settings: Settings
) -> tuple[tuple[Seen, ...], None] | Skipped:
    """The recorded vectors' neighbours: another index of the same bundle.

    Keypoints show what a photo shows, so they are no more recorded than the photo: photos that were
    in the answer have the inliers that they had then, others have none.
    """
    bundle = search.encoder.bundle
    if bundle.version != record.bundle:
        return "no photo or title was kept"
    # Vectors alone do not tell whether there was a photo; without one there are no inliers.
    weight = bundle.verification.get("both" if record.title_length else "photo", 0.0)
    photos = bundle.keypoints.photos
    found = search.gallery.nearest(record.query_vectors(), settings.depth, photos)
    rows = [
        rescored_neighbours(near, _remembered(near, seen), weight).products[: settings.depth]
        for near, seen in zip(found, record.instances, strict=True)
    ]
    return tuple(
        seen.model_copy(
            update={
                "products": tuple(hit.product for hit in hits),
                "images": tuple(hit.image for hit in hits),
                "scores": tuple(hit.score for hit in hits),
            }
        )
        for seen, hits in zip(record.instances, rows, strict=True)
    ), None


def _remembered(near: Neighbours, seen: Seen) -> dict[str, Evidence]:
    # A record of before has none.
    inliers = dict(zip(seen.images, seen.inliers, strict=False))
    return {
        hit.id: replace(NONE, inliers=count)
        for hit in near.photos
        if (count := inliers.get(hit.image)) is not None
    }


def _seen(answer: Answer) -> tuple[Seen, ...]:
    return tuple(
        Seen(
            box=instance.box,
            score=instance.score,
            known=instance.known,
            in_catalogue=instance.in_catalogue,
            products=tuple(hit.product for hit in instance.hits),
            images=tuple(hit.image for hit in instance.hits),
            scores=tuple(hit.score for hit in instance.hits),
        )
        for instance in answer.instances
    )


def _compare(
    record: Record, now: tuple[Seen, ...], milliseconds: float | None, settings: Settings
) -> AnswerChange:
    pairs = _paired(record.instances, now, settings.match_iou)
    depth = settings.depth
    changed = any(
        then is None or after is None or then.products[:1] != after.products[:1]
        for then, after in pairs
    )
    overlaps = [_overlap(then, after, depth) for then, after in pairs]
    return AnswerChange(
        record,
        tuple(then for then, _ in pairs),
        tuple(after for _, after in pairs),
        changed,
        float(np.mean(overlaps)) if overlaps else 1.0,
        milliseconds,
    )


def _overlap(then: Seen | None, now: Seen | None, depth: int) -> float:
    if then is None or now is None:
        return 0.0
    before = set(then.products[:depth])
    # An answer of fewer products is compared with as many.
    after = set(now.products[: max(1, len(before))])
    return len(before & after) / max(len(before), len(after)) if before | after else 1.0


def _paired(
    then: Sequence[Seen], now: Sequence[Seen], iou: float
) -> list[tuple[Seen | None, Seen | None]]:
    """Instances of both answers that are the same product of the photo; the rest beside None."""
    left = list(now)
    pairs: list[tuple[Seen | None, Seen | None]] = []
    for seen in then:
        overlaps = [_same(seen, other) for other in left]
        best = int(np.argmax(overlaps)) if overlaps else 0
        found = left.pop(best) if overlaps and overlaps[best] >= iou else None
        pairs.append((seen, found))
    return pairs + [(None, other) for other in left]


def _same(one: Seen, other: Seen) -> float:
    if one.box is None or other.box is None:
        return float(one.box is other.box)
    boxes = (np.asarray([seen.box], np.float32) for seen in (one, other))
    return float(intersection_over_union(*boxes)[0, 0])


def _figures(
    candidate: str, records: int, skipped: Counter[str], changes: Sequence[AnswerChange]
) -> Replayed:
    timed = [change for change in changes if change.milliseconds is not None]

    def median(values: Sequence[float | None]) -> float | None:
        return round(float(np.median(np.asarray(values, float))), 2) if values else None

    return Replayed(
        candidate=candidate,
        records=records,
        replayed=len(changes),
        skipped=dict(skipped),
        changed=round(sum(change.changed for change in changes) / max(1, len(changes)), 6),
        overlap=round(float(np.mean([change.overlap for change in changes] or [1.0])), 6),
        recorded_ms=median([change.record.milliseconds for change in timed]),
        candidate_ms=median([change.milliseconds for change in timed]),
    )
