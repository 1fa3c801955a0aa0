"""A query answered: boxes of the photo, and for each the products of the catalogue, best first."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from serving.bundle import SETTINGS, Bundle
from serving.columns import clip
from serving.database import CHAMPION, Database
from serving.encoder import Encoded, Encoder, Word
from serving.errors import UnknownIdError, UserError
from serving.filters import Filters
from serving.gallery import ID_LENGTH, Gallery, Hit, Vectors
from serving.imaging import Photo, open_photo
from serving.known import probability, signs
from serving.merging import interleave, merge
from serving.prices import Part, Parts, checked_price, compare, has_prices

__all__ = [
    "Answer",
    "Hit",
    "Instance",
    "Part",
    "Parts",
    "ProductSearch",
    "Ranking",
    "UserError",
]

Box = tuple[float, float, float, float]

_BELONGS = 0.5


@dataclass(frozen=True)
class Instance:
    """One product of the query."""

    box: Box | None
    """x0, y0, x1, y1 in pixels of the upright photo; None for a query without a photo."""
    score: float
    """The detector's, 0 to 1; 1 for given boxes and for a title alone."""
    hits: tuple[Hit, ...]
    """One per product of the catalogue, best first."""
    known: float | None = None
    """How likely its product is in the catalogue; None where the bundle was not calibrated."""
    in_catalogue: bool = True
    """Whether `known` reaches the bundle's threshold; where it does not, the hits are what comes
    nearest."""
    words: tuple[str, ...] = ()
    """The title's words that name this product, in their order."""


@dataclass(frozen=True)
class Answer:
    """The products of one query."""

    instances: tuple[Instance, ...]
    """Best box first."""
    collection: str
    bundle: str
    """Version of the bundle."""
    parts: Parts | None = None
    """Their prices; None where the catalogue has no column `price` of numbers, and for a title
    alone, which is not taken apart."""

    def to_dict(self) -> dict[str, Any]:
        """The answer as JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class Ranking:
    """One query as the evaluation reads it: gallery photos, not grouped by product."""

    encoded: Encoded
    rankings: list[list[str]]
    """Gallery ids of each instance, best first."""
    merged: list[str]
    """The query's ranking, see `serving.merging`."""


class ProductSearch:
    """A bundle and the collection that it made, ready for queries.

    Args:
        bundle: a bundle's folder, or a folder of them by version (`data/bundles`), of which the one
            that made the collection is taken.
        uri: Milvus, see `serving.database.Database`.
        alias: an alias, or the name of a collection.
        token: of a Milvus server.
        threads: of each network; 0 takes all cores.

    Raises:
        UserError: no bundle, no database, no such alias, or another bundle made the collection.
    """

    def __init__(
        self,
        bundle: str | Path = "data/bundles",
        uri: str | None = None,
        alias: str = CHAMPION,
        token: str | None = None,
        threads: int = 0,
    ) -> None:
        self._database = Database(uri, token)
        try:
            # By its name: an alias that moves later must not bring another bundle's vectors.
            self.gallery: Gallery = self._database.gallery(alias)
            self.encoder = Encoder(bundle_of(self.gallery, Path(bundle)), threads)
        except BaseException:
            self._database.close()
            raise

    def __call__(
        self,
        photo: str | Path | bytes | Photo | None = None,
        caption: str = "",
        k: int = 10,
        boxes: Sequence[Sequence[float]] | None = None,
        filters: Filters | None = None,
        bundle_price: float | None = None,
    ) -> Answer:
        """Find the products of a photo, of a title, or of both.

        Args:
            photo: a path, an image file's bytes, or upright RGB pixels.
            caption: the title.
            k: products per instance.
            boxes: x0, y0, x1, y1 in pixels of the upright photo, instead of the detector's.
            filters: conditions on catalogue columns, see `serving.filters`.
            bundle_price: what the bundle costs, to be compared with its parts.

        Raises:
            UserError: neither photo nor title, no readable photo, a bad box, filter, k or price.
        """
        checked_price(bundle_price)
        if k < 1:
            raise UserError(f"k {k}: expected 1 or more products per box")
        encoded = self.encoder.encode(_pixels(photo), caption, boxes)
        # The second product tells how sure the first one is, wanted or not.
        found = self.gallery.search_products(encoded.vectors, max(k, 2), filters)
        words = own_words(encoded.words, len(encoded.scores))
        instances = [
            self._instance(encoded, row, hits, k, words[row]) for row, hits in enumerate(found)
        ]
        parts = self._parts(instances, bundle_price)
        return Answer(tuple(instances), self.gallery.name, self.encoder.bundle.version, parts)

    def _parts(self, instances: Sequence[Instance], bundle_price: float | None) -> Parts | None:
        if not has_prices(self.gallery.columns) or instances[0].box is None:
            return None
        alone = len(instances) == 1
        best = [
            # Beside boxes, the whole photo (score 0) shows what they show once more.
            instance.hits[0] if instance.in_catalogue and (instance.score or alone) else None
            for instance in instances
        ]
        return compare(best, bundle_price)

    def _instance(
        self, encoded: Encoded, row: int, hits: Sequence[Hit], k: int, words: tuple[str, ...]
    ) -> Instance:
        box = _box(encoded.boxes[row]) if len(encoded.boxes) else None
        seen = float(encoded.scores[row])
        known, settings = None, self.encoder.bundle.known
        # The calibration is of boxes: a title alone has none.
        if settings is not None and box is not None:
            values = signs([hit.score for hit in hits[:2]], seen) if hits else None
            known = probability(values, settings.weights) if values else 0.0
        in_catalogue = bool(hits) and (
            known is None or settings is None or known >= settings.threshold
        )
        return Instance(box, seen, tuple(hits[:k]), known, in_catalogue, words)

    def product(self, identifier: str) -> Hit:
        """One photo of the catalogue, without a score (0).

        Raises:
            UnknownIdError: the index holds no such id.
        """
        return self._row(identifier)[0]

    def similar(self, identifier: str, k: int = 10) -> tuple[Hit, ...]:
        """The other products nearest to a photo of the catalogue, by its stored vector.

        Args:
            identifier: id of the photo.
            k: products.

        Raises:
            UnknownIdError: the index holds no such id.
        """
        hit, vector = self._row(identifier)
        # One more than wanted: the product itself is the nearest.
        (found,) = self.gallery.search_products(vector[None], k + 1)
        return tuple(other for other in found if other.product != hit.product)[:k]

    def _row(self, identifier: str) -> tuple[Hit, Vectors]:
        row = self.gallery.find(identifier)
        if row is None:
            raise UnknownIdError(
                f"id {clip(identifier, ID_LENGTH)!r}: no such photo in {self.gallery.name}"
            )
        return row

    def rank(
        self, photo: str | Path | bytes | Photo | None, caption: str = "", depth: int = 100
    ) -> Ranking:
        """Rank gallery photos, not grouped, as the metrics read them.

        Args:
            photo: as in a query.
            caption: as in a query.
            depth: length of every ranking.
        """
        encoded = self.encoder.encode(_pixels(photo), caption)
        found = self.gallery.search(encoded.vectors, depth)
        rankings = [[hit.id for hit in hits] for hits in found]
        weights = self.encoder.bundle.merging
        if weights is None:
            return Ranking(encoded, rankings, interleave(rankings, depth))
        scores = [np.asarray([hit.score for hit in hits], np.float32) for hits in found]
        return Ranking(encoded, rankings, merge(rankings, scores, weights, depth))

    def close(self) -> None:
        """Let go of the database."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def bundle_of(gallery: Gallery, folder: Path) -> Bundle:
    """Open the bundle that made a gallery: `folder` itself, or `folder/<version>`.

    Raises:
        UserError: `folder` is another bundle, or holds none of that version.
    """
    version = gallery.properties.get("bundle", "")
    alone = (folder / SETTINGS).exists()
    if not alone and not (folder / version / SETTINGS).exists():
        raise UserError(
            f"{folder}: no bundle {version}, which made {gallery.name}; copy it there, or run "
            "`unbundle promote`"
        )
    bundle = Bundle.open(folder if alone else folder / version)
    if bundle.version != version:
        raise UserError(
            f"{bundle.folder}: bundle {bundle.version}, but {gallery.name} was made with "
            f"{version}; give that bundle, or run `dvc repro ingest`"
        )
    if bundle.dimension != gallery.dimension:
        raise UserError(
            f"{bundle.folder}: vectors of {bundle.dimension} numbers, {gallery.name} has "
            f"{gallery.dimension}; run `dvc repro ingest`"
        )
    return bundle


def own_words(words: Sequence[Word], instances: int) -> list[tuple[str, ...]]:
    """The words that name each instance's product.

    A word belongs to an instance if it more likely does than not; two instances of one product
    share their words.
    """
    return [
        tuple(word.text for word in words if word.belongs[row] >= _BELONGS)
        for row in range(instances)
    ]


def _pixels(photo: str | Path | bytes | Photo | None) -> Photo | None:
    match photo:
        case str() | Path():
            return open_photo(Path(photo))
        case bytes():
            return open_photo(photo)
        case _:
            return photo


def _box(box: Any) -> Box:
    x0, y0, x1, y1 = (round(float(value), 1) for value in box)
    return x0, y0, x1, y1
