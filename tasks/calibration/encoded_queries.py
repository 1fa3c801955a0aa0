"""Heads of CAPTURE for proposals whose visual tokens are stored: no photo is opened again."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tokenizers import Tokenizer

from models.capture.onnx_heads import HEADS
from models.capture.tokenizer import PAD
from tasks.base.progress import track
from tasks.data.box_columns import boxes_of
from tasks.tokens.store import FeatureStore
from unbundle.ranking.embedding import Modality, Vectors, seen_parts
from unbundle.vision.boxes import Boxes

Arrays = dict[str, NDArray[Any]]

Network = Callable[[Arrays], Sequence[NDArray[Any]]]
"""`capture.onnx`, or its torch twin: inputs by name, outputs in the order of `HEADS`."""


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
        batch: proposals at once.
    """

    def __init__(
        self,
        store: FeatureStore,
        network: Network,
        tokenizer: Tokenizer,
        title_tokens: int,
        batch: int,
    ) -> None:
        self._store, self._network, self._tokenizer = store, network, tokenizer
        self._title_tokens, self._batch = title_tokens, batch
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
        found: dict[str, list[Vectors]] = {}
        for start in track(range(0, len(rows), self._batch), label):
            chosen = rows[start : start + self._batch]
            named = titles[start : start + self._batch]
            inputs = capture_inputs(self._store, chosen, named, self._tokenizer, self._title_tokens)
            inputs["visual_mask"] *= photo
            output = dict(zip(HEADS, self._network(inputs), strict=True))
            shown = inputs["attention_mask"].any(axis=1, keepdims=True)
            block = {
                part: vectors * photo
                for part, vectors in seen_parts(
                    inputs["visual"][:, 0], self._store.features
                ).items()
            } | {
                "visual": output["visual_head"] * photo,
                "text": output["text_head"] * shown,
                "read": output["read"] * shown * photo,
                "joint": output["joint"],
            }
            for head, vectors in block.items():
                found.setdefault(head, []).append(np.asarray(vectors, np.float32))
        return {head: np.concatenate(blocks) for head, blocks in found.items()}


def capture_inputs(
    store: FeatureStore, rows: list[int], titles: list[str], tokenizer: Tokenizer, length: int
) -> Arrays:
    """Inputs of `capture.onnx` for stored proposals, one title each ("" for none)."""
    tokenizer.enable_truncation(length)
    tokenizer.enable_padding(pad_id=tokenizer.token_to_id(PAD), pad_token=PAD)
    encoded = tokenizer.encode_batch(titles)
    named = np.asarray([bool(title.strip()) for title in titles], np.int64)[:, None]
    visual = store.tokens(rows).astype(np.float32)
    return {
        "input_ids": np.asarray([title.ids for title in encoded], np.int64),
        "attention_mask": np.asarray([title.attention_mask for title in encoded]) * named,
        "visual": visual,
        "geometry": np.repeat(store.geometry[rows][:, None], visual.shape[1], axis=1),
        "visual_mask": np.ones(visual.shape[:2], np.int64),
    }
