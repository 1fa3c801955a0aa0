"""What CAPTURE is given and what its outputs count for: the same code for the fits and for a query.

A missing title is all padding, a missing photo all masked: neither may speak in a head.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from unbundle.ranking.embedding_parts import Vectors, seen_parts

OUTPUTS = ("visual_head", "text_head", "read", "alignment", "joint")
"""Of `capture.onnx`: float32 `[N, d]` each, `alignment` `[N, T]`."""

Arrays = dict[str, NDArray[Any]]

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
    """Unit rows `[N, d]` by head: the parts and `read`; zeros where a modality is missing."""
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
    stripped = [title.strip() for title in titles]
    distinct = list(dict.fromkeys(stripped))
    encodings = dict(zip(distinct, tokenizer.encode_batch(distinct), strict=True))
    rows = [encodings[title] for title in stripped]
    titled = np.asarray([bool(title) for title in stripped], np.int64)[:, None]
    return {
        "input_ids": np.asarray([row.ids for row in rows], np.int64),
        "attention_mask": np.asarray([row.attention_mask for row in rows], np.int64) * titled,
        "visual": visual.tokens,
        "geometry": visual.geometry,
        "visual_mask": visual.mask,
    }


def masked_heads(inputs: Arrays, outputs: Sequence[NDArray[Any]], channels: int) -> Heads:
    """The heads that a query's or a gallery's vectors are made of.

    Args:
        inputs: of `capture_inputs`.
        outputs: of the network for them, in the order of `OUTPUTS`.
        channels: how many of a token's numbers are the feature map's; the others are the colours.
    """
    by_name = dict(zip(OUTPUTS, outputs, strict=True))
    seen, titled = (
        inputs[mask].any(axis=1, keepdims=True).astype(np.float32)
        for mask in ("visual_mask", "attention_mask")
    )
    parts = seen_parts(inputs["visual"][:, 0], channels)
    return Heads(
        {
            **{part: vectors * seen for part, vectors in parts.items()},
            "visual": by_name["visual_head"] * seen,
            "text": by_name["text_head"] * titled,
            "read": by_name["read"] * titled * seen,
            "joint": by_name["joint"],
        },
        by_name["alignment"],
    )
