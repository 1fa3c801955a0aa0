"""Heads of CAPTURE for proposals whose visual tokens are stored: no photo is opened again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tokenizers import Tokenizer

from tasks.base.progress import track
from tasks.data.box_columns import boxes_of
from tasks.tokens.token_files import FeatureStore
from unbundle.encoding.capture_inputs import (
    Network,
    Visual,
    encode,
    title_tokenizer,
)
from unbundle.encoding.untrained_parts import UntrainedParts
from unbundle.ranking.embedding_parts import Modality, Vectors
from unbundle.vision.boxes import Boxes


@dataclass(frozen=True)
class EncodedQueries:
    """The instances of some queries.

    Attributes:
        queries: instance rows `[n]` of each query, best instance first; they point into `heads`.
        heads: unit rows `[N, d]` by head; zeros where a modality is missing.
        boxes: `[N, 4]` in pixels.
        rows: of the store `[N]`.
    """

    queries: list[NDArray[np.int64]]
    heads: Mapping[str, Vectors]
    boxes: Boxes
    rows: list[int]


class StoredPhotos:
    """The stored proposals of a catalogue, encoded by CAPTURE when they are asked for.

    Args:
        store: the visual tokens.
        network: CAPTURE.
        tokenizer: of the titles.
        title_tokens: longest title.
        untrained: what gives the parts beside CAPTURE's.
        batch: proposals at once.
    """

    def __init__(
        self,
        store: FeatureStore,
        network: Network,
        tokenizer: Tokenizer,
        title_tokens: int,
        untrained: UntrainedParts,
        batch: int,
    ) -> None:
        self._store, self._network, self._batch = store, network, batch
        self._untrained = untrained
        self._tokenizer = title_tokenizer(tokenizer, title_tokens)
        self._rows = store.rows_by_id()

    def gallery(self, rows: pd.DataFrame) -> Mapping[str, Vectors]:
        """Heads `[M, d]` of the gallery's rows of the manifest, each by its best proposal."""
        return self._heads(self.best_rows(rows), rows["caption"].tolist(), True, "gallery")

    def best_rows(self, rows: pd.DataFrame) -> list[int]:
        """Row of the store of the best proposal of each photo."""
        return [self._rows[photo][0] for photo in rows["id"]]

    def queries(self, rows: pd.DataFrame, mode: Modality) -> EncodedQueries:
        """The instances of queries that show their photo, their title or both."""
        chosen: list[int] = []
        titles: list[str] = []
        places: list[NDArray[np.int64]] = []
        for photo, caption in zip(rows["id"].tolist(), rows["caption"].tolist(), strict=True):
            # A title alone is one instance.
            mine = self._rows[photo] if mode != "title" else self._rows[photo][:1]
            places.append(np.arange(len(chosen), len(chosen) + len(mine)))
            chosen += mine
            titles += [caption if mode != "photo" else ""] * len(mine)
        heads = self._heads(chosen, titles, mode != "title", f"queries, {mode}")
        boxes = boxes_of(self._store.index.iloc[chosen])
        return EncodedQueries(places, heads, boxes, chosen)

    def _heads(
        self, rows: list[int], titles: list[str], photo: bool, label: str
    ) -> dict[str, Vectors]:
        blocks: list[Mapping[str, Vectors]] = []
        for start in track(range(0, len(rows), self._batch), label):
            chosen = rows[start : start + self._batch]
            named = titles[start : start + self._batch]
            visual = stored_visual(self._store, chosen, photo)
            heads = encode(visual, named, self._tokenizer, self._untrained, self._network)
            blocks.append(heads.vectors)
        return {head: np.concatenate([block[head] for block in blocks]) for head in blocks[0]}


def stored_visual(store: FeatureStore, rows: Sequence[int], photo: bool = True) -> Visual:
    """Visual input of CAPTURE for stored proposals, masked where a query shows no `photo`."""
    tokens = store.tokens(rows).astype(np.float32)
    return Visual(
        tokens,
        np.repeat(store.geometry[rows][:, None], tokens.shape[1], axis=1),
        np.full(tokens.shape[:2], photo, np.int64),
    )
