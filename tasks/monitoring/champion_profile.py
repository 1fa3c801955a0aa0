"""The profile that an index was judged on, kept among its collection's properties."""

from pydantic import ValidationError

from tasks.base.params import Watch
from tasks.base.progress import track
from tasks.base.workspace import Workspace
from tasks.data.manifest import read_manifest
from tasks.data.splits import rows_of, spread
from tasks.evaluation.queries import LabelledQueries
from tasks.monitoring.drift import Profile, profile
from unbundle.base.errors import UserError
from unbundle.query.search import ProductSearch
from unbundle.recording.query_log import Facts, facts, observe

PROPERTY = "profile"
"""Of the collection that was judged on it."""


def keep_profile(
    search: ProductSearch, workspace: Workspace, queries: LabelledQueries, settings: Watch
) -> None:
    """Ask a candidate the queries that it is judged on, and keep the profile with its collection.

    Args:
        search: the candidate.
        workspace: whose manifest has the gallery.
        queries: the labelled ones; `watch.profile` of them are asked.
        settings: how many.
    """
    asked = [queries.rows[place] for place in spread(len(queries.rows), settings.profile)]
    records = [
        observe(search, query.photo.read_bytes(), query.caption)
        for query in track(asked, "profile of the queries")
    ]
    kept = profile(records, catalogue_facts(search, workspace, settings))
    search.gallery.annotate({PROPERTY: kept.model_dump_json()})


def kept_profile(search: ProductSearch) -> Profile:
    """The profile that an index was judged on.

    Raises:
        UserError: it was promoted without one.
    """
    try:
        return Profile.model_validate_json(search.gallery.properties.get(PROPERTY, ""))
    except ValidationError:
        raise UserError(
            f"{search.gallery.name}: promoted without a profile; the next promotion writes one"
        ) from None


def catalogue_facts(search: ProductSearch, workspace: Workspace, settings: Watch) -> list[Facts]:
    """Facts of `watch.profile` gallery photos and titles of the manifest, evenly spread."""
    gallery = rows_of(read_manifest(workspace.manifest), "gallery")
    rows = gallery.iloc[spread(len(gallery), settings.profile)]
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
