"""Stage `ingest`: the gallery's vectors in a Milvus collection named by its content.

    python -m tasks.ingest

The name is a hash of bundle, gallery and index, so a changed photo, title or network makes a new
collection beside the one that serves, and an unchanged one is recognised and left alone. Rows are
encoded and written in fixed batches: a killed run goes on with the first batch that is not whole,
and ends with the same vectors.
"""

import json
import time
from collections.abc import Sequence
from dataclasses import asdict

from tasks.base.digests import digest
from tasks.base.params import Ingest, Params
from tasks.base.progress import console, track
from tasks.base.stage_command import run_stage
from tasks.base.workspace import Workspace
from tasks.index.gallery_rows import read_gallery, traced
from tasks.index.ingestion_receipt import Receipt, milvus_uri
from unbundle.base.atomic import write_json
from unbundle.base.errors import UserError
from unbundle.encoding.model_bundle import Bundle
from unbundle.index.columns import infer_columns
from unbundle.index.gallery_collection import Gallery, Item
from unbundle.index.milvus_database import Database, Hnsw, shown
from unbundle.vision.imaging import open_photo

SCHEMA = 3
"""Counted up when collections of another make are needed."""

_POLL = 1.0  # seconds


def ingest(workspace: Workspace, params: Params) -> None:
    """Fill the collection of this bundle and gallery, and write `artifacts/ingestion.json`.

    Raises:
        UserError: no bundle, manifest or gallery row; Milvus is locked, cannot be reached, or
            holds other rows under this name.
    """
    bundle = Bundle.open(workspace.bundle)
    items = read_gallery(workspace.manifest)
    columns = infer_columns(
        {name: [item.columns[name] for item in items] for name in items[0].columns}
    )
    items = [traced(item, workspace.catalogue, columns) for item in items]
    content = digest(*(item.digest for item in items))[:16]
    hnsw = Hnsw(**params.ingest.hnsw.model_dump())
    with Database(milvus_uri(workspace, params.ingest), create=True) as database:
        index = database.index(hnsw)
        name = f"products_{digest(SCHEMA, bundle.version, content, json.dumps(index))[:12]}"
        gallery = database.create_gallery(
            name, bundle.dimension, columns, {"bundle": bundle.version, "gallery": content}, hnsw
        )
        if gallery.live:
            # Its rows are what refreshes and clients made of them since.
            console.print(f"  {name} was ingested and has served: nothing to do")
        elif gallery.count() == len(items):
            console.print(f"  {name} is there with {len(items):,} rows: nothing to do")
        else:
            _fill(gallery, items, bundle, workspace, params.ingest)
        if not gallery.live:
            gallery.expect_rows(len(items))
        _wait(gallery)
        receipt = Receipt(
            collection=name,
            rows=len(items),
            bundle=bundle.version,
            gallery=content,
            uri=shown(database.uri),
            dimension=bundle.dimension,
            index=index,
        )
    write_json(workspace.receipt, asdict(receipt))


def _fill(
    gallery: Gallery,
    items: Sequence[Item],
    bundle: Bundle,
    workspace: Workspace,
    params: Ingest,
) -> None:
    from unbundle.encoding.query_encoder import Encoder

    started = time.monotonic()
    present = gallery.ids()
    starts = range(0, len(items), params.batch)
    batches = [items[start : start + params.batch] for start in starts]
    missing = [[item for item in batch if item.id not in present] for batch in batches]
    missing = [batch for batch in missing if batch]
    encoder = Encoder(bundle, params.threads)
    for batch in track(missing, f"gallery, batches of {params.batch}"):
        photos = [open_photo(workspace.catalogue / item.image) for item in batch]
        entries = encoder.encode_gallery(photos, [item.caption for item in batch])
        gallery.insert(batch, entries.vectors, entries.keypoints)
    gallery.flush()
    _verify(gallery, len(items))
    _report(workspace, gallery, sum(map(len, missing)), time.monotonic() - started)


def _wait(gallery: Gallery) -> None:
    # Promoted sooner, it would be served without its index for as long as the server builds it.
    with console.status("index") as status:
        while left := gallery.pending():
            status.update(f"{left:,} rows to index")
            time.sleep(_POLL)


def _verify(gallery: Gallery, expected: int) -> None:
    found = gallery.count()
    if found != expected:
        raise UserError(
            f"{gallery.place}: {gallery.name} has {found:,} rows, expected {expected:,}: something "
            "else writes to it; drop the collection and run `dvc repro ingest`"
        )


def _report(workspace: Workspace, gallery: Gallery, encoded: int, seconds: float) -> None:
    rate = encoded / seconds
    console.print(
        f"  {encoded:,} photos encoded and written in {seconds:.1f} s ({rate:,.0f}/s) → "
        f"{gallery.name} in {gallery.place}"
    )
    # Times differ from run to run, so they stay out of the receipt.
    write_json(
        workspace.root / "reports/ingestion.json",
        {"collection": gallery.name, "encoded": encoded, "seconds": seconds, "rate": rate},
    )


if __name__ == "__main__":
    run_stage(ingest)
