"""A query answered: boxes of the photo, and for each the products of the catalogue, best first."""

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from unbundle.base.catalogue_cells import ID_LENGTH
from unbundle.base.errors import UnknownIdError, UserError
from unbundle.base.request_limits import USUAL_K
from unbundle.encoding.encoded_query import EncodedQuery, Word
from unbundle.encoding.hashed_tfidf import TitleWords
from unbundle.encoding.model_bundle import SETTINGS, Bundle
from unbundle.encoding.query_encoder import Encoder
from unbundle.encoding.query_observer import NOBODY, Observer
from unbundle.index.columns import clip
from unbundle.index.duplicates import Duplicate, duplicates
from unbundle.index.filters import Filters, Range, compile_filters
from unbundle.index.gallery_collection import MOST_HITS, Gallery, Hit, Neighbours, Vectors
from unbundle.index.milvus_database import CHAMPION, Database
from unbundle.query.prices import Part, Parts, checked_price, compare, has_prices
from unbundle.query.rerank import rerank
from unbundle.query.score_open_set import known_probabilities
from unbundle.ranking.fusion import fuse, interleave
from unbundle.vision.imaging import Photo, UploadedPhoto, open_photo

__all__ = [
    "Answer",
    "Duplicate",
    "Hit",
    "Instance",
    "Part",
    "Parts",
    "ProductSearch",
    "Question",
    "Range",
    "Ranking",
    "UserError",
]

Box = tuple[float, float, float, float]

_BELONGS = 0.5
_UNANSWERED = UserError("not answered")  # holds a query's place in a batch until it is


Source = str | Path | bytes | Photo | UploadedPhoto | Callable[[], Photo]
"""A photo: a path, an image file's bytes, upright RGB pixels, or what gives them in its turn."""


@dataclass(frozen=True, eq=False)
class Question:
    """One query of several."""

    photo: Source | None = None
    caption: str = ""
    """The title."""
    k: int = USUAL_K
    """Products per instance."""
    boxes: Sequence[Sequence[float]] | None = None
    """x0, y0, x1, y1 in pixels of the upright photo, instead of the detector's."""
    filters: Filters | None = None
    """Conditions on catalogue columns, see `unbundle.index.filters`."""
    bundle_price: float | None = None
    """What the bundle costs, to be compared with its parts."""
    min_score: float | None = None
    """Hits below it are left out."""
    offset: int = 0
    """Products per instance that come before the first hit: pages of one order, as long as the
    index stays the same."""

    @property
    def depth(self) -> int:
        """Products per instance to search for."""
        # The second product tells how sure the first one is, wanted or not.
        return max(self.offset + self.k, 2)

    def check(self) -> None:
        """Check the numbers.

        Raises:
            UserError: one is out of its range.
        """
        if self.k < 1:
            raise UserError(f"k {self.k}: expected 1 or more products per box")
        if self.offset < 0 or self.depth > MOST_HITS:
            raise UserError(
                f"offset {self.offset}: expected 0 or more, with k at most {MOST_HITS:,}"
            )
        if self.min_score is not None and not math.isfinite(self.min_score):
            raise UserError(f"min_score {self.min_score}: expected a number")
        checked_price(self.bundle_price)


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
    """The open-set score: the probability that its product is in the catalogue; None for a title
    alone and where the bundle was not calibrated."""
    in_catalogue: bool = True
    """Whether a hit is left and `known` reaches the bundle's threshold; where it does not, the hits
    are what comes nearest."""
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

    encoded: EncodedQuery
    searched: list[list[str]]
    """Gallery ids of each instance as the index finds them, best first."""
    rankings: list[list[str]]
    """The same after re-ranking."""
    merged: list[str]
    """The query's ranking, see `unbundle.ranking.fusion`."""


class ProductSearch:
    """A bundle and the collection that it made, ready for queries.

    Args:
        bundle: a bundle's folder, or a folder of them by version (`data/bundles`), of which the one
            that made the collection is taken.
        uri: Milvus, see `unbundle.index.milvus_database.Database`.
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
            self.gallery.check_rows()
            self.encoder = Encoder(bundle_of(self.gallery, Path(bundle)), threads)
        except BaseException:
            self._database.close()
            raise

    def __call__(
        self,
        photo: Source | None = None,
        caption: str = "",
        k: int = USUAL_K,
        boxes: Sequence[Sequence[float]] | None = None,
        filters: Filters | None = None,
        bundle_price: float | None = None,
        min_score: float | None = None,
        offset: int = 0,
    ) -> Answer:
        """Find the products of a photo, of a title, or of both.

        Args:
            photo: see `Question`, like all others.
            caption: the title.
            k: products per instance.
            boxes: instead of the detector's.
            filters: conditions on catalogue columns.
            bundle_price: to be compared with the parts' prices.
            min_score: hits below it are left out.
            offset: products per instance that come before the first hit.

        Raises:
            UserError: neither photo nor title, no readable photo, a bad box, filter or number.
        """
        return self.ask(
            Question(photo, caption, k, boxes, filters, bundle_price, min_score, offset)
        )

    def ask(self, question: Question, observer: Observer = NOBODY) -> Answer:
        """Answer one query, as a call does.

        Args:
            question: the query.
            observer: see `unbundle.encoding.query_observer`.

        Raises:
            UserError: see `__call__`.
        """
        (answer,) = self.batch([question], observer)
        if isinstance(answer, UserError):
            raise answer
        return answer

    def batch(
        self, questions: Iterable[Question], observer: Observer = NOBODY
    ) -> list[Answer | UserError]:
        """Answer several queries; those with equal filters share one search of the index.

        Args:
            questions: the queries.
            observer: of all of them.

        Returns:
            For each query, in order, its answer or what is wrong with it.
        """
        answers: list[Answer | UserError] = []
        together: dict[str, list[tuple[int, Question, EncodedQuery]]] = {}
        for place, question in enumerate(questions):
            try:
                question.check()
                expression = compile_filters(question.filters, self.gallery.columns)
                query = self._encode(question, observer)
            except UserError as error:
                answers.append(error)
            else:
                together.setdefault(expression, []).append((place, question, query))
                answers.append(_UNANSWERED)
        for group in together.values():
            with observer.span("search"):
                found = self._nearest(group)
            for (place, question, query), near in zip(group, found, strict=True):
                # One by one: the stored rows of all would be too much at once.
                with observer.span("verify"):
                    reranked = rerank(self.gallery, self.encoder.bundle, query, near)
                with observer.span("known"):
                    known = known_probabilities(self.encoder.bundle, query, reranked)
                answers[place] = self._answer(question, query, reranked, known)
        return answers

    def _encode(self, question: Question, observer: Observer) -> EncodedQuery:
        with observer.span("decode"):
            pixels = _pixels(question.photo)
        return self.encoder.encode(pixels, question.caption, question.boxes, observer)

    def _nearest(
        self, group: Sequence[tuple[int, Question, EncodedQuery]]
    ) -> list[list[Neighbours]]:
        """What is nearest to each instance of each query of a group with equal filters."""
        vectors = np.concatenate([query.vectors for _, _, query in group])
        depth = max(question.depth for _, question, _ in group)
        photos = self.encoder.bundle.keypoints.photos
        found = iter(self.gallery.nearest(vectors, depth, photos, group[0][1].filters))
        return [list(islice(found, len(query.vectors))) for _, _, query in group]

    def _answer(
        self,
        question: Question,
        query: EncodedQuery,
        reranked: Sequence[Neighbours],
        probabilities: Sequence[float | None],
    ) -> Answer:
        passing = [
            _passing(near.products[: question.depth], question.min_score) for near in reranked
        ]
        words = own_words(query.words, [next(iter(hits), None) for hits in passing])
        first, last = question.offset, question.offset + question.k
        instances = []
        for row, (hits, known) in enumerate(zip(passing, probabilities, strict=True)):
            instances.append(
                Instance(
                    _box(query.boxes[row]) if len(query.boxes) else None,
                    float(query.scores[row]),
                    tuple(hits[first:last]),
                    known,
                    bool(hits) and self._reaches(query, known),
                    words[row],
                )
            )
        parts = self._parts(instances, passing, question.bundle_price)
        version = self.encoder.bundle.version
        return Answer(tuple(instances), self.gallery.name, version, parts)

    def _reaches(self, query: EncodedQuery, known: float | None) -> bool:
        settings = self.encoder.bundle.open_set.get(query.modality)
        return known is None or settings is None or known >= settings.threshold

    def _parts(
        self,
        instances: Sequence[Instance],
        found: Sequence[Sequence[Hit]],
        bundle_price: float | None,
    ) -> Parts | None:
        if not has_prices(self.gallery.columns) or instances[0].box is None:
            return None
        alone = len(instances) == 1
        best = [
            # Beside boxes, the whole photo (score 0) shows the same products again.
            hits[0] if instance.in_catalogue and (instance.score or alone) else None
            for instance, hits in zip(instances, found, strict=True)
        ]
        return compare(best, bundle_price)

    def duplicates(self, threshold: float) -> Iterator[Duplicate]:
        """Photos of different products that look like one, see `unbundle.index.duplicates`."""
        return duplicates(self.gallery, threshold)

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
        self,
        photo: Source | None,
        caption: str = "",
        depth: int = 100,
        without: Collection[str] = (),
    ) -> Ranking:
        """Rank gallery photos, not grouped, as the metrics read them.

        Args:
            photo: as in a query.
            caption: as in a query.
            depth: length of every ranking.
            without: ids that count as not in the index once it was searched.
        """
        query = self._encode(Question(photo, caption), NOBODY)
        hits = self.gallery.search(query.vectors, depth)
        found = [Neighbours([], [hit for hit in row if hit.id not in without]) for row in hits]
        reranked = rerank(self.gallery, self.encoder.bundle, query, found)
        verified = [near.photos for near in reranked]
        searched, rankings = _ids(hits), _ids(verified)
        weights = self.encoder.bundle.fusion
        if weights is None:
            merged = interleave(rankings, depth)
        else:
            scores = [np.asarray([hit.score for hit in row], np.float32) for row in verified]
            merged = fuse(rankings, scores, weights, depth)
        return Ranking(query, searched, rankings, merged)

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


def _ids(lists: Sequence[Sequence[Hit]]) -> list[list[str]]:
    return [[hit.id for hit in hits] for hits in lists]


def own_words(words: Sequence[Word], best: Sequence[Hit | None]) -> list[tuple[str, ...]]:
    """The words that name each instance's product.

    A word belongs to an instance if it more likely does than not, and if the product that was found
    is not named otherwise: a word that other instances' products have in label or title, and this
    one's has not, is theirs. Two instances of one product share their words.

    Args:
        words: of the query's title.
        best: the first hit of each instance.
    """
    texts = ["" if hit is None else f"{hit.label} {hit.caption}" for hit in best]
    names = [TitleWords.of(text) for text in texts]
    found: list[list[str]] = [[] for _ in best]
    for word in words:
        spelt = TitleWords.of(word.text)
        named = [name.hold(spelt) for name in names]
        for row, own in enumerate(found):
            if word.belongs[row] >= _BELONGS and (named[row] or not any(named)):
                own.append(word.text)
    return [tuple(own) for own in found]


def _passing(hits: list[Hit], min_score: float | None) -> list[Hit]:
    return hits if min_score is None else [hit for hit in hits if hit.score >= min_score]


def _pixels(photo: Source | None) -> Photo | None:
    match photo:
        case str() | Path():
            return open_photo(Path(photo))
        case bytes():
            return open_photo(photo)
        case None | np.ndarray():
            return photo
        case _:
            return photo()


def _box(box: Any) -> Box:
    x0, y0, x1, y1 = (round(float(value), 1) for value in box)
    return x0, y0, x1, y1
