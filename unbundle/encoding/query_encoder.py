"""From a photo and a title to instance vectors, on ONNX Runtime.

Detector, backbone and CAPTURE are run over all instances of a query (or all photos of an ingestion
batch) at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer

from unbundle.base.errors import UserError
from unbundle.base.onnx_session import open_session
from unbundle.base.request_limits import MOST_BOXES
from unbundle.encoding.capture_inputs import (
    OUTPUTS,
    Arrays,
    Heads,
    Visual,
    encode,
    title_tokenizer,
)
from unbundle.encoding.encoded_query import EncodedQuery, Word
from unbundle.encoding.image_encoder import ImageEncoder, Proposals
from unbundle.encoding.model_bundle import CAPTURE, PROJECTION, TOKENIZER, Bundle
from unbundle.encoding.query_observer import NOBODY, Observer
from unbundle.encoding.untrained_parts import UntrainedParts
from unbundle.ranking.embedding_parts import Vectors, join_parts, modality, query_vectors
from unbundle.vision.boxes import Boxes
from unbundle.vision.imaging import Photo
from unbundle.vision.keypoints import Keypoints, keypoints

_UNKNOWN = "[UNK]"


@dataclass(frozen=True)
class Entries:
    """What a gallery holds of some photos beside their rows."""

    vectors: Vectors
    """`[N, D]`."""
    keypoints: list[str]
    """Packed, see `unbundle.vision.keypoints`."""


class Encoder:
    """Runs a bundle; ready at full speed when it is made.

    Args:
        bundle: the opened bundle.
        threads: of each network; 0 takes the cores that this process may use, 8 at most.
    """

    def __init__(self, bundle: Bundle, threads: int = 0) -> None:
        self.bundle = bundle
        self._image_encoder = ImageEncoder(bundle.folder, bundle.detector, bundle.backbone, threads)
        self._capture = open_session(bundle.folder / CAPTURE, threads)
        tokenizer = Tokenizer.from_file(str(bundle.folder / TOKENIZER))
        self._tokenizer = title_tokenizer(tokenizer, bundle.capture.title_tokens)
        self._projection = np.load(bundle.folder / PROJECTION, allow_pickle=False)
        lexical = bundle.embedding.dimension_of("lexical")
        self._untrained = UntrainedParts.open(bundle.folder, lexical)
        # A network's first run plans its memory: no client should wait for it.
        side = bundle.detector.image_size
        self.encode(np.zeros((side, side, 3), np.uint8))

    def propose(self, photo: Photo) -> Proposals:
        """The products that the detector sees in a photo."""
        return self._image_encoder.propose([photo])[0]

    def encode(
        self,
        photo: Photo | None,
        caption: str = "",
        boxes: Boxes | Sequence[Sequence[float]] | None = None,
        observer: Observer = NOBODY,
    ) -> EncodedQuery:
        """Encode a query: a photo, a title or both.

        Args:
            photo: upright RGB pixels.
            caption: the title; may name only some of the products.
            boxes: `[N, 4]` in photo pixels, instead of the detector's.
            observer: of the networks' runs, of the local features and of what comes out.

        Raises:
            UserError: neither photo nor title; a box without area or beyond the photo.
        """
        found = self._instances(photo, caption, boxes, observer)
        visual = None
        if photo is not None:
            visual = self._image_encoder.encode([photo], [found.boxes], observer)
        heads = self._heads(visual, [caption] * len(found.scores), observer)
        settings = self.bundle.embedding
        mode = modality(photo is not None, bool(caption.strip()))
        pieces = self._tokenizer.encode(caption.strip())
        local: list[Keypoints] = []
        if photo is not None:
            with observer.span("verify"):
                local = self.keypoints(photo, found.boxes)
        query = EncodedQuery(
            found.boxes,
            found.scores,
            heads.vectors,
            () if photo is None else _words(caption.strip(), pieces, heads.alignment),
            query_vectors(heads.vectors, settings.parts, settings.weights[mode]),
            mode,
            local,
            _unknown(pieces),
        )
        observer.encoded(query)
        return query

    def encode_gallery(self, photos: Sequence[Photo], captions: Sequence[str]) -> Entries:
        """Vectors and keypoints of single-product photos, each by its best proposal."""
        boxes = [found.boxes[:1] for found in self._image_encoder.propose(photos)]
        heads = self._heads(self._image_encoder.encode(photos, boxes), captions, NOBODY)
        local = [self.keypoints(*pair)[0].pack() for pair in zip(photos, boxes, strict=True)]
        return Entries(join_parts(heads.vectors, self.bundle.embedding.parts), local)

    def keypoints(self, photo: Photo, boxes: Boxes) -> list[Keypoints]:
        """The keypoints of some boxes `[N, 4]` of a photo."""
        return keypoints(photo, boxes, self.bundle.keypoints, self._projection)

    def unknown(self, caption: str) -> float:
        """Share of a title's pieces that the tokenizer does not know, 0 without a title."""
        return _unknown(self._tokenizer.encode(caption.strip()))

    def _instances(
        self,
        photo: Photo | None,
        caption: str,
        boxes: Boxes | Sequence[Sequence[float]] | None,
        observer: Observer,
    ) -> Proposals:
        if photo is None:
            if not caption.strip():
                raise UserError("the query is empty: give a photo, a title or both")
            if boxes is not None:
                raise UserError("boxes without a photo: give the photo that they are in")
            return Proposals(np.zeros((0, 4), np.float32), np.ones(1, np.float32))
        if boxes is None:
            return self._image_encoder.propose([photo], observer)[0]
        given = _checked_boxes(boxes, photo)
        return Proposals(given, np.ones(len(given), np.float32))

    def _no_visual(self, count: int) -> Visual:
        dimension = self.bundle.backbone.dimension
        return Visual(
            np.zeros((count, 1, dimension), np.float32),
            np.zeros((count, 1, 5), np.float32),
            np.zeros((count, 1), np.int64),
        )

    def _heads(self, visual: Visual | None, captions: Sequence[str], observer: Observer) -> Heads:
        visual = visual or self._no_visual(len(captions))

        def run(inputs: Arrays) -> Sequence[NDArray[np.float32]]:
            with observer.span("capture"):
                outputs: list[NDArray[np.float32]] = self._capture.run(list(OUTPUTS), inputs)
            return outputs

        return encode(visual, captions, self._tokenizer, self._untrained, run)


def _unknown(title: Encoding) -> float:
    pieces = [
        token for token, word in zip(title.tokens, title.word_ids, strict=True) if word is not None
    ]
    return round(pieces.count(_UNKNOWN) / len(pieces), 4) if pieces else 0.0


def _words(text: str, title: Encoding, alignment: NDArray[np.float32]) -> tuple[Word, ...]:
    pieces: dict[int, list[int]] = {}
    for place, word in enumerate(title.word_ids):
        if word is not None:
            pieces.setdefault(word, []).append(place)
    words = []
    for places in pieces.values():
        start = title.offsets[places[0]][0]
        end = title.offsets[places[-1]][1]
        # A word belongs where its most telling piece does.
        words.append(Word(text[start:end], alignment[:, places].max(axis=1)))
    return tuple(words)


def _checked_boxes(boxes: Boxes | Sequence[Sequence[float]], photo: Photo) -> Boxes:
    height, width = photo.shape[:2]
    wanted = f"expected x0,y0,x1,y1 with area, inside the photo of {width} x {height} pixels"
    if not 1 <= len(boxes) <= MOST_BOXES:
        raise UserError(f"{len(boxes)} boxes: give 1 to {MOST_BOXES}")
    for box in boxes:
        numbers = np.asarray(box, np.float64)
        shaped = numbers.shape == (4,) and bool(np.isfinite(numbers).all())
        if shaped:
            x0, y0, x1, y1 = numbers
            shaped = 0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height
        if not shaped:
            raise UserError(f"box {','.join(f'{value:g}' for value in numbers.flat)}: {wanted}")
    return np.asarray(boxes, np.float32)
