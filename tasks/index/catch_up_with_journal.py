"""Live changes made in an index of the workspace: opens its bundle, catches up with the journal."""

from tasks.base.params import Params
from tasks.base.progress import console
from tasks.base.workspace import Workspace
from unbundle.encoding.model_bundle import SETTINGS
from unbundle.encoding.query_encoder import Encoder
from unbundle.index.change_journal import Journal
from unbundle.index.gallery_collection import Gallery
from unbundle.index.put_and_delete import CaughtUp, catch_up
from unbundle.query.search import bundle_of


def open_encoder(workspace: Workspace, gallery: Gallery, params: Params) -> Encoder:
    """The encoder of the bundle that made an index, promoted or not.

    Raises:
        UserError: the bundle is gone.
    """
    promoted = workspace.bundles / gallery.properties["bundle"] / SETTINGS
    folder = workspace.bundles if promoted.is_file() else workspace.bundle
    return Encoder(bundle_of(gallery, folder), params.ingest.threads)


def catch_up_with_journal(workspace: Workspace, gallery: Gallery, params: Params) -> CaughtUp:
    """Make the changes that the journal has and an index lacks; print how many, if any."""
    journal = Journal(workspace.journal)
    found = catch_up(gallery, lambda: open_encoder(workspace, gallery, params), journal)
    if found.made:
        console.print(f"  {found.made:,} products that changed live are now in {gallery.name}")
    return found
