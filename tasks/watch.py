"""Drift watch: are queries and catalogue still what the champion was judged on?

    python -m tasks.watch

`tasks.promote` writes a candidate's profile, from the labelled queries that the gate judges it on
and from photos and titles of the gallery, into its collection; this compares it with the queries
that `unbundle serve --record` kept and with today's manifest. Figures go to `reports/watch/`.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from pydantic import ValidationError

from tasks.base.command import run_stage
from tasks.base.params import Params, Watch
from tasks.base.progress import console, track
from tasks.base.workspace import Workspace
from tasks.data.manifest import read_manifest
from tasks.evaluation.queries import Queries
from tasks.ingest import milvus_uri
from tasks.monitoring.drift import Figure, Profile, compare, profile
from unbundle.base.atomic import atomic_file, atomic_folder, write_json
from unbundle.base.errors import UserError
from unbundle.query.search import ProductSearch
from unbundle.recording.recorder import Facts, Record, facts, observe, read_records

PROPERTY = "profile"
"""Of the collection that was judged on it."""


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


def keep_profile(
    search: ProductSearch, workspace: Workspace, queries: Queries, settings: Watch
) -> None:
    """Ask a candidate the queries that it is judged on, and keep the profile with its collection.

    Args:
        search: the candidate.
        workspace: whose manifest has the gallery.
        queries: the labelled ones; `watch.profile` of them are asked.
        settings: how many.
    """
    places = _spread(len(queries.rows), settings.profile)
    asked = [queries.rows[place] for place in places]
    records = [
        observe(search, query.photo.read_bytes(), query.caption)
        for query in track(asked, "profile of the queries")
    ]
    kept = profile(records, _catalogue(search, workspace, settings))
    search.gallery.annotate({PROPERTY: kept.model_dump_json()})


def watch(workspace: Workspace, params: Params) -> Drift:
    """Compare what comes in with the champion's profile; write `reports/watch/`.

    Raises:
        UserError: nothing is promoted, the champion has no profile, or there is nothing to compare.
    """
    settings = params.watch
    with ProductSearch(workspace.bundles, milvus_uri(workspace, params.ingest)) as search:
        then = _kept(search)
        version = search.encoder.bundle.version
        records = _recent(workspace.root / params.replay.records, version, settings.queries)
        today = _catalogue(search, workspace, settings) if workspace.manifest.is_file() else []
        drift = Drift(search.gallery.name, len(records), compare(then, records, today, settings))
    if not drift.figures:
        raise UserError(
            f"{workspace.root}: neither recorded queries nor a manifest to compare; serve with "
            f"`unbundle serve --record {params.replay.records}`"
        )
    _write(workspace, drift)
    for figure in drift.figures:
        console.print(f"  {'BREACHED' if figure.breached else 'holds'}: {figure.line}")
    if len(records) < settings.min_queries:
        console.print(
            f"  {len(records)} recorded queries of bundle {version}, fewer than "
            f"{settings.min_queries}: they are not judged"
        )
    return drift


def _kept(search: ProductSearch) -> Profile:
    try:
        return Profile.model_validate_json(search.gallery.properties.get(PROPERTY, ""))
    except ValidationError:
        raise UserError(
            f"{search.gallery.name}: promoted without a profile; the next promotion writes one"
        ) from None


def _recent(folder: Path, version: str, most: int) -> list[Record]:
    # Another bundle's vectors and scores are of another space.
    found = [record for record in read_records(folder) if record.bundle == version]
    return sorted(found, key=lambda record: record.time)[-most:]


def _catalogue(search: ProductSearch, workspace: Workspace, settings: Watch) -> list[Facts]:
    manifest = read_manifest(workspace.manifest)
    gallery = manifest[manifest["split"] == "gallery"]
    rows = gallery.iloc[_spread(len(gallery), settings.profile)]
    return [
        Facts(
            **facts(
                (workspace.catalogue / str(image)).read_bytes(),
                str(caption),
                search.encoder.unknown(str(caption)),
            )
        )
        for image, caption in zip(rows["image"], rows["caption"], strict=True)
    ]


def _spread(count: int, most: int) -> list[int]:
    return [int(place) for place in np.linspace(0, count - 1, min(count, most))]


def _write(workspace: Workspace, drift: Drift) -> None:
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


def _watch_or_fail(workspace: Workspace, params: Params) -> None:
    drift = watch(workspace, params)
    console.print(f"  {drift.told}")


if __name__ == "__main__":
    run_stage(_watch_or_fail)
