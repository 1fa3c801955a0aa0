"""Visual tokens of every proposal on disk: fp16 shards that are mapped, not loaded."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Tokens = NDArray[np.float16]


@dataclass(frozen=True)
class FeatureStore:
    """Rows of `proposals.parquet` and, row by row, their tokens and geometry.

    Attributes:
        index: columns id, x0, y0, x1, y1 (pixels), score; one row a proposal, best first.
        geometry: float32 `[N, 5]`, see `unbundle.vision.imaging.geometry`.
        shards: float16 `[rows, 1 + grid * grid, dimension]`, memory-mapped.
        shard_rows: rows of each shard but the last.
        channels: of the feature map, which come first; a token's others are its colours.
    """

    index: pd.DataFrame
    geometry: NDArray[np.float32]
    shards: tuple[Tokens, ...]
    shard_rows: int
    channels: int

    @classmethod
    def open(cls, folder: Path) -> "FeatureStore":
        """Map the shards that the features stage left in `folder`."""
        facts = json.loads((folder / "features.json").read_text(encoding="utf-8"))
        shards = tuple(np.load(path, mmap_mode="r") for path in sorted(folder.glob("tokens-*.npy")))
        index = pd.read_parquet(folder / "index.parquet")
        places = np.load(folder / "geometry.npy")
        return cls(index, places, shards, int(facts["shard_rows"]), int(facts["features"]))

    @property
    def dimension(self) -> int:
        """Channels of a token."""
        return int(self.shards[0].shape[2])

    @property
    def tokens_per_proposal(self) -> int:
        """1 + grid * grid."""
        return int(self.shards[0].shape[1])

    def rows_by_id(self) -> dict[str, list[int]]:
        """Row numbers of each photo's proposals, best first."""
        rows: dict[str, list[int]] = {}
        for row, photo in enumerate(self.index["id"]):
            rows.setdefault(photo, []).append(row)
        return rows

    def tokens(self, rows: Sequence[int]) -> Tokens:
        """Copy the tokens `[len(rows), 1 + grid * grid, dimension]` of some rows."""
        return np.stack(
            [self.shards[row // self.shard_rows][row % self.shard_rows] for row in rows]
        )
