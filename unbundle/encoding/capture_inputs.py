"""What CAPTURE is given and what becomes of its outputs: the same code for the fits and a query.

A missing title is all padding, a missing photo all masked: neither may speak in a head.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer

from unbundle.encoding.hashed_tfidf import HashedTfidf
from unbundle.encoding.untrained_parts import UntrainedParts
from unbundle.ranking.embedding_parts import Vectors

OUTPUTS = ("visual_head", "text_head", "read", "alignment", "joint")
"""Of `capture.onnx`: float32 `[N, d]` each, `alignment` `[N, T]`."""

Arrays = dict[str, NDArray[Any]]

Network = Callable[[Arrays], Sequence[NDArray[Any]]]
"""`capture.onnx`, or its torch twin: inputs by name, outputs in the order of `OUTPUTS`."""

_PAD = "[PAD]"


@dataclass(frozen=True)
class Visual:
    """Visual input of CAPTURE, a row per instance."""

    tokens: NDArray[np.float32]
    """`[N, V, D]`; the first token is of the whole crop."""
    geometry: NDArray[np.float32]
    """`[N, V, 5]`."""
    mask: NDArray[np.int64]
    """`[N, V]`: 1; 0 for an instance without a photo."""


@dataclass(frozen=True)
class Heads:
    """What CAPTURE and the backbone give for N instances."""

    vectors: dict[str, Vectors]
    """Unit rows `[N, d]` by head of `unbundle.ranking.embedding_parts.TERMS`; zeros where a
    modality is missing."""
    alignment: NDArray[np.float32]
    """`[N, T]`: how likely a title's piece names the instance's product, 0 to 1."""


def title_tokenizer(tokenizer: Tokenizer, title_tokens: int) -> Tokenizer:
    """The tokenizer itself, set to cut titles to `title_tokens` and pad a batch to its longest."""
    tokenizer.enable_truncation(title_tokens)
    tokenizer.enable_padding(pad_id=tokenizer.token_to_id(_PAD), pad_token=_PAD)
    return tokenizer


def capture_inputs(visual: Visual, titles: Sequence[str], tokenizer: Tokenizer) -> Arrays:
    """Inputs of `capture.onnx` by name.

    Args:
        visual: of N instances.
        titles: one each; a blank one is none.
        tokenizer: that truncates and pads, see `title_tokenizer`.
    """
    return _inputs(visual, _encodings(titles, tokenizer))


def encode(
    visual: Visual,
    titles: Sequence[str],
    tokenizer: Tokenizer,
    untrained: UntrainedParts,
    network: Network,
) -> Heads:
    """The heads that a query's or a gallery's vectors are made of.

    Args:
        visual: of N instances.
        titles: one each; a blank one is none.
        tokenizer: that truncates and pads, see `title_tokenizer`.
        untrained: what gives the parts beside CAPTURE's.
        network: CAPTURE.
    """
    encodings = _encodings(titles, tokenizer)
    inputs = _inputs(visual, encodings)
    by_name = dict(zip(OUTPUTS, network(inputs), strict=True))
    seen, titled = (
        inputs[mask].any(axis=1, keepdims=True).astype(np.float32)
        for mask in ("visual_mask", "attention_mask")
    )
    parts = untrained.seen(inputs["visual"][:, 0])
    alignment = by_name["alignment"]
    return Heads(
        {
            **{part: vectors * seen for part, vectors in parts.items()},
            "visual": by_name["visual_head"] * seen,
            "text": by_name["text_head"] * titled,
            "read": by_name["read"] * titled * seen,
            "joint": by_name["joint"],
            "lexical": untrained.tfidf.encode([title for title, _ in encodings]),
            "lexical_read": _lexical_read(untrained.tfidf, encodings, alignment) * seen,
        },
        alignment,
    )


_Title = tuple[str, Encoding]


def _encodings(titles: Sequence[str], tokenizer: Tokenizer) -> list[_Title]:
    stripped = [title.strip() for title in titles]
    distinct = list(dict.fromkeys(stripped))
    encodings = dict(zip(distinct, tokenizer.encode_batch(distinct), strict=True))
    return [(title, encodings[title]) for title in stripped]


def _inputs(visual: Visual, titles: Sequence[_Title]) -> Arrays:
    titled = np.asarray([bool(title) for title, _ in titles], np.int64)[:, None]
    return {
        "input_ids": np.asarray([row.ids for _, row in titles], np.int64),
        "attention_mask": np.asarray([row.attention_mask for _, row in titles], np.int64) * titled,
        "visual": visual.tokens,
        "geometry": visual.geometry,
        "visual_mask": visual.mask,
    }


def _lexical_read(
    tfidf: HashedTfidf, titles: Sequence[_Title], alignment: NDArray[np.float32]
) -> Vectors:
    """Words by how likely they name the instance, as `alignment` `[N, T]` has it, `[N, D]`."""
    rows = np.zeros((len(titles), tfidf.dimension), np.float32)
    instances: dict[str, list[int]] = {}
    for row, (title, _) in enumerate(titles):
        instances.setdefault(title, []).append(row)
    for title, own in instances.items():
        shares = np.zeros((len(own), len(title)), np.float32)
        for place, (start, end) in enumerate(titles[own[0]][1].offsets):
            shares[:, start:end] = alignment[own, place, None]
        rows[own] = tfidf.encode_shares(title, shares)
    return rows
