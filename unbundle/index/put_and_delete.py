"""Live changes of an index, in the one order that loses none: checked, recorded, made.

What the journal has and an index has not is made in it by `catch_up`: before and after an index is
promoted, and wherever a change was recorded and its maker died. The journal holds what clients see;
an index that was ingested from an older or a newer catalogue follows it, and the next refresh
brings both to the source.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from unbundle.base.errors import UserError
from unbundle.index.change_journal import Change, Journal, Origin, sha256
from unbundle.index.gallery_collection import Gallery, Item, RowOrigin, content_digest
from unbundle.vision.imaging import Photo, open_photo

if TYPE_CHECKING:
    # ONNX Runtime, which a caller that finds nothing to do can spare.
    from unbundle.encoding.query_encoder import Encoder

PAGE = 512
"""Changes that are compared at once: Milvus Lite's cost is a loop over its keys once per call."""

BATCH = 32
"""Photos that are decoded, encoded and written at once."""


@dataclass(frozen=True)
class ProductPut:
    """One product to put into an index: its row, its photo's file and the photo's pixels."""

    item: Item
    file: bytes
    photo: Photo


@dataclass(frozen=True)
class CaughtUp:
    """What `catch_up` found.

    Attributes:
        made: changes that the index lacked.
        seen: positions of changes that it had and that the source says, too.
    """

    made: int
    seen: tuple[int, ...]


def write_photos(
    gallery: Gallery, encoder: "Encoder", items: Sequence[Item], photos: Sequence[Photo]
) -> None:
    """Encode single-product photos with their titles and write their rows."""
    entries = encoder.encode_gallery(photos, [item.caption for item in items])
    gallery.upsert(items, entries.vectors, entries.keypoints)


def put(
    gallery: Gallery,
    encoder: "Encoder",
    journal: Journal,
    origin: Origin,
    products: Sequence[ProductPut],
) -> None:
    """Put products into a serving index, each in the place of the row of its id.

    Args:
        gallery: the index.
        encoder: of the bundle that made it.
        journal: where the changes are recorded first.
        origin: who changes it. A `refresh` follows the source; what a client puts holds until the
            source changes its row.
        products: at least one.

    Raises:
        UserError: a product that the index cannot hold; nothing is recorded or written.
    """
    for product in products:
        if misfit := gallery.misfit(product.item):
            raise UserError(misfit)
    # A refresh brings the source's own row: what it replaces does not matter.
    known = origin == "service"
    held = gallery.traces([product.item.id for product in products]) if known else {}
    items, changes = [], []
    for product in products:
        photo = sha256(product.file)
        digest = content_digest(product.item, photo, gallery.columns)
        source = digest if origin == "refresh" else _source(product.item.id, held, journal)
        items.append(replace(product.item, digest=digest, source=source))
        changes.append(Change(product.item.id, origin, source, product.item, photo))
    entries = encoder.encode_gallery(
        [product.photo for product in products], [item.caption for item in items]
    )
    entities = gallery.entities(items, entries.vectors, entries.keypoints)
    with journal.order():
        journal.append(changes, [product.file for product in products])
        gallery.mark_live()
        gallery.write(entities)


def delete(gallery: Gallery, journal: Journal, origin: Origin, identifiers: Sequence[str]) -> None:
    """Delete products from a serving index; one that is not there is no change."""
    with journal.order():
        held = gallery.traces(identifiers)
        changes = [Change(name, origin, trace.source) for name, trace in held.items()]
        for name in identifiers:
            # Recorded, and its maker died before it was written.
            last = journal.last(name) if name not in held else None
            if last is not None and last.item is not None:
                changes.append(Change(name, origin, last.source))
        if changes:
            journal.append(changes)
            gallery.mark_live()
            gallery.delete([change.id for change in changes])


def catch_up(gallery: Gallery, open_encoder: Callable[[], "Encoder"], journal: Journal) -> CaughtUp:
    """Make what the journal has and an index lacks.

    Args:
        gallery: the index.
        open_encoder: opens the bundle that made it; called if there is anything to encode.
        journal: the changes.

    Raises:
        UserError: a product that the index cannot hold, such as one without a column that its
            catalogue has got since; a photo of the journal is gone.
    """
    made, position, seen = 0, 0, list[int]()
    encoder: Encoder | None = None
    while True:
        # Reading and writing in one: a newer change must not be undone by an older one.
        with journal.order():
            page = journal.latest(position, PAGE)
            if not page:
                return CaughtUp(made, tuple(seen))
            position = page[-1].position
            lacking = _lacking(gallery, page)
            seen += [
                change.position for change in page if change not in lacking and _settled(change)
            ]
            if not lacking:
                continue
            items = {change.id: _row(change, gallery) for change in lacking if change.item}
            gallery.mark_live()
            gallery.delete([change.id for change in lacking if change.item is None])
            if items:
                encoder = encoder or open_encoder()
                puts = [change for change in lacking if change.item]
                for start in range(0, len(puts), BATCH):
                    batch = puts[start : start + BATCH]
                    photos = [open_photo(journal.photo(change)) for change in batch]
                    write_photos(gallery, encoder, [items[one.id] for one in batch], photos)
            made += len(lacking)


def _lacking(gallery: Gallery, page: Sequence[Change]) -> list[Change]:
    held = gallery.traces([change.id for change in page])

    def is_made(change: Change) -> bool:
        if change.item is None:
            return change.id not in held
        digest = content_digest(change.item, change.photo, gallery.columns)
        return change.id in held and held[change.id].digest == digest

    return [change for change in page if not is_made(change)]


def _settled(change: Change) -> bool:
    """Whether the source says the same, so that an ingestion of it makes the change needless."""
    return change.origin == "refresh" or (change.item is None and not change.source)


def _row(change: Change, gallery: Gallery) -> Item:
    assert change.item is not None
    if misfit := gallery.misfit(change.item):
        raise UserError(
            f"{gallery.place}: {gallery.name} cannot hold a product that was changed live: "
            f"{misfit} with PUT, or DELETE the product"
        )
    digest = content_digest(change.item, change.photo, gallery.columns)
    source = digest if change.origin == "refresh" else change.source
    return replace(change.item, digest=digest, source=source)


def _source(identifier: str, held: dict[str, RowOrigin], journal: Journal) -> str:
    if identifier in held:
        return held[identifier].source
    # A product that was deleted here comes back: the source's row is the one it had then.
    last = journal.last(identifier)
    return last.source if last is not None and last.item is None else ""
