"""A served world: a gallery of six products in Milvus Lite, promoted, and its bundle."""

from pathlib import Path

from bundles import write_bundle, write_gallery
from worlds import tiny_params

from serving.database import Database
from tasks.ingest import Receipt, ingest
from tasks.workspace import Workspace


def serve(root: Path) -> Workspace:
    """Ingest and promote `write_gallery` below `root`, the bundle in `data/bundles/<version>`."""
    workspace = Workspace(root)
    write_gallery(root)
    write_bundle(workspace.bundle)
    ingest(workspace, tiny_params(root))
    receipt = Receipt.read(workspace.receipt)
    write_bundle(workspace.bundles / receipt.bundle)
    with Database(str(workspace.milvus)) as database:
        database.promote(receipt.collection)
    return workspace
