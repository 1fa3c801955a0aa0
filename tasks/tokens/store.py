"""Visual tokens of every proposal on disk: fp16 shards that are mapped, not loaded."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tasks.base.params import Params
from tasks.base.workspace import Workspace
from unbundle.base.atomic import atomic_file, write_json
from unbundle.base.errors import UserError

Tokens = NDArray[np.float16]


@dataclass(frozen=True)
class FeatureStore:
    """Rows of `proposals.parquet` and, row by row, their tokens and geometry.

    Attributes:
        index: columns id, x0, y0, x1, y1 (pixels), score; one row a proposal, best first.
        geometry: float32 `[N, 5]`, see `unbundle.vision.imaging.geometry`.
        shards: float16 `[rows, 1 + grid * grid, dimension]`, memory-mapped.
        shard_rows: rows of each shard but the last.
        features: channels of the feature map, which come first; a token's others are its colours.
    """

    index: pd.DataFrame
    geometry: NDArray[np.float32]
    shards: tuple[Tokens, ...]
    shard_rows: int
    features: int

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


class WriteShard(Protocol):
    """Writes one shard, in any process that sees the workspace; the bytes do not depend on it."""

    def __call__(
        self, workspace: Workspace, params: Params, work: Path, number: int, threads: int = 0
    ) -> None:
        """Write it.

        Args:
            workspace: the same folder for all.
            params: the same for all.
            work: of `work_folder`, begun.
            number: of the shard.
            threads: that compute; 0: all cores.
        """


def work_folder(checkpoints: Path, stage: str, key: str) -> Path:
    """Where a stage gathers its shards until all are there, so that a rerun goes on.

    Args:
        checkpoints: folder of what interrupted stages resume from.
        stage: its name.
        key: digest of the inputs.
    """
    return checkpoints / f"{stage}-{key[:16]}"


def begin(work: Path) -> None:
    """Make a work folder, and delete what its stage left beside it for other inputs."""
    stage = work.name.rpartition("-")[0]
    for stale in work.parent.glob(f"{stage}-*"):
        if stale != work:
            shutil.rmtree(stale)
    work.mkdir(parents=True, exist_ok=True)


def check_begun(work: Path) -> None:
    """Refuse to write into a work folder that is not there: whoever began sees other inputs.

    Raises:
        UserError: no such folder.
    """
    if not work.is_dir():
        raise UserError(
            f"{work}: no such folder; every worker has to see the project's folder under the same "
            "path, with the same data and the same packages"
        )


def missing(work: Path, count: int) -> list[int]:
    """Numbers of the shards, of `count`, that are not in a work folder yet."""
    return [number for number in range(count) if not shard_path(work, number).exists()]


def shard_path(folder: Path, number: int) -> Path:
    """File of a shard, by its number from 0."""
    return folder / f"tokens-{number:05d}.npy"


def finish(
    work: Path,
    index: pd.DataFrame,
    places: NDArray[np.float32],
    shard_rows: int,
    features: int,
    target: Path,
) -> None:
    """Write what belongs to the shards in `work` and put the folder in place of `target`."""
    with atomic_file(work / "geometry.npy") as temporary:
        np.save(temporary, places)
    with atomic_file(work / "index.parquet") as temporary:
        index.to_parquet(temporary, index=False)
    write_json(work / "features.json", {"shard_rows": shard_rows, "features": features})
    shutil.rmtree(target, ignore_errors=True)
    work.replace(target)
