"""Shards of a feature store while they are written: any process may write any of them."""

import shutil
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tasks.base.params import Params
from tasks.base.workspace import Workspace
from unbundle.base.atomic import atomic_file, write_json
from unbundle.base.errors import UserError


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
    """Refuse to write into a work folder that is not there: it was begun for other inputs.

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
    channels: int,
    target: Path,
) -> None:
    """Write what belongs to the shards in `work` and put the folder in place of `target`."""
    with atomic_file(work / "geometry.npy") as temporary:
        np.save(temporary, places)
    with atomic_file(work / "index.parquet") as temporary:
        index.to_parquet(temporary, index=False)
    write_json(work / "features.json", {"shard_rows": shard_rows, "features": channels})
    shutil.rmtree(target, ignore_errors=True)
    work.replace(target)


T = TypeVar("T")


def prefetched(draw: Callable[[int], T], numbers: Sequence[int]) -> Iterator[T]:
    """Yield `draw(number)` for each number in order; a thread draws the next one meanwhile."""
    with ThreadPoolExecutor(1) as pool:
        waiting: deque[Future[T]] = deque()
        for number in numbers:
            waiting.append(pool.submit(draw, number))
            if len(waiting) > 1:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
