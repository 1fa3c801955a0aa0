"""The rate of stage `features` on a Dask cluster of two processes beside one worker on one core.

Drawn photos with one given box each, the backbone and the crops of `scale: demo`. Both sides run
the flow that `orchestrate.runner: dask` runs, on a cluster that is there and has written shards
before, so that neither pays for a start; the one worker's process is bound to one core. They take
turns, and the fastest of each counts: what else a machine does makes them slower only. The bytes
of all of them are those of the stage alone.

    python -m benchmarks.dask_cluster --photos 4096
"""

import argparse
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from distributed import Client, LocalCluster
from PIL import Image

from benchmarks.performance_page import PAGE, write_section
from flows.running.shard_tasks import task_runner, write_shards
from tasks.base.digests import digest, folder_files
from tasks.base.params import Orchestrate, load_params
from tasks.base.progress import track
from tasks.base.workspace import Workspace
from tasks.data.manifest import write_manifest
from tasks.features import features, missing_shards

PROJECT = Path(__file__).parents[1]
SIDE = 448
"""Of a photo, pixels: the demo catalogue's."""
WORKERS = (1, 2)
START_S = 300.0
"""Of a Prefect server on a busy machine."""


def write_photos(root: Path, photos: int, shard_rows: int) -> None:
    """Params, drawn photos, their manifest and one box of each below `root`."""
    text = (PROJECT / "params.yaml").read_text(encoding="utf-8")
    params = yaml.safe_load(text)
    params["features"]["shard_rows"] = shard_rows
    (root / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    workspace = Workspace(root)
    (workspace.catalogue / "images").mkdir(parents=True)
    random = np.random.default_rng(0)
    rows = []
    for number in track(range(photos), f"drawing {photos:,} photos"):
        coarse = random.integers(0, 256, (SIDE // 8, SIDE // 8, 3), np.uint8)
        image = f"images/{number}.jpg"
        photo = Image.fromarray(coarse).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        photo.save(workspace.catalogue / image, quality=90)
        row = {"id": f"t{number}", "image": image, "caption": "", "split": "train"}
        row |= {"labels": [], "kind": "single", "boxes": None}
        rows.append(row | {"width": SIDE, "height": SIDE})
    write_manifest(workspace.manifest, pd.DataFrame(rows))
    box = {"x0": 20.0, "y0": 20.0, "x1": SIDE - 20.0, "y1": SIDE - 20.0, "score": 0.9}
    proposals = pd.DataFrame([{"id": row["id"], **box} for row in rows])
    proposals.astype(dict.fromkeys(box, "float32")).to_parquet(workspace.proposals, index=False)


@contextmanager
def cluster(workers: int) -> Iterator[str]:
    """The address of a cluster as flows start it; a single worker is bound to one core."""
    params = load_params(PROJECT / "params.yaml").orchestrate
    runner = task_runner(params.model_copy(update={"runner": "dask", "workers": workers}))
    with LocalCluster(**runner.cluster_kwargs) as started:
        # A default client would win over the address that a flow is given.
        with Client(started, set_as_default=False) as client:
            if workers == 1:
                client.run(_bind)
        yield started.scheduler_address


def _bind() -> None:
    core = max(os.sched_getaffinity(0))
    for thread in Path("/proc/self/task").iterdir():
        os.sched_setaffinity(int(thread.name), {core})


def run(begun: Path, scratch: Path, orchestrate: Orchestrate, workers: int) -> tuple[float, str]:
    """Seconds in which the flow wrote all shards of a copy, and the digest of its features."""
    root = scratch / "run"
    shutil.copytree(begun, root)
    started = time.monotonic()
    state = write_shards("features", root, orchestrate)
    seconds = time.monotonic() - started
    if not state.is_completed():
        raise SystemExit(f"error: {state.message}")
    if f"by {workers} process" not in str(state.message):
        raise SystemExit(f"error: expected {workers} writers: {state.message}")
    found = finished(root)
    shutil.rmtree(root)
    return seconds, found


def finished(root: Path) -> str:
    """Digest of the features after the stage: it writes what is missing, and puts all together."""
    workspace = Workspace(root)
    features(workspace, load_params(root / "params.yaml"))
    return digest(*folder_files(workspace.features))


def measure(photos: int, shard_rows: int, repeats: int) -> dict[int, float]:
    """Proposals a second by number of workers.

    Raises:
        SystemExit: a run failed, or its bytes are not those of the stage alone.
    """
    # Imported after `flows`, which turns Prefect's usage tracking off before that.
    from prefect.testing.utilities import prefect_test_harness

    best: dict[int, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        begun = scratch / "begun"
        begun.mkdir()
        write_photos(begun, photos, shard_rows)
        missing_shards(Workspace(begun), load_params(begun / "params.yaml"))
        alone = finished(Path(shutil.copytree(begun, scratch / "alone")))
        with prefect_test_harness(START_S), cluster(1) as one, cluster(2) as two:
            addresses = dict(zip(WORKERS, (one, two), strict=True))
            # The first round only warms the workers.
            for turn in range(repeats + 1):
                for workers, address in addresses.items():
                    dask = load_params(begun / "params.yaml").orchestrate.model_copy(
                        update={"runner": "dask", "dask_address": address}
                    )
                    seconds, found = run(begun, scratch, dask, workers)
                    if found != alone:
                        raise SystemExit(f"error: {workers} workers wrote other bytes")
                    rate = photos / seconds
                    print(f"  {turn}: {workers} workers, {rate:.1f} proposals/s", flush=True)
                    if turn:
                        best[workers] = max(rate, best.get(workers, 0.0))
    return best


def section(rates: dict[int, float], photos: int, shard_rows: int) -> str:
    """The section of the page, markdown."""
    head = f"""## Two workers

Visual tokens of {photos:,} crops in shards of {shard_rows}, by `orchestrate.runner: dask`, in the
bytes of the stage alone; the one worker is bound to one core (`python -m benchmarks.dask_cluster`).

| Dask workers | proposals/s | |
| --- | --- | --- |"""
    lines = [head]
    for workers, rate in rates.items():
        lines.append(f"| {workers} | {rate:.1f} | {rate / rates[1]:.2f} times |")
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the section and write it."""
    title = (__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.dask_cluster", description=title)
    parser.add_argument("--photos", type=int, default=4096)
    parser.add_argument("--shard-rows", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--page", type=Path, default=PAGE, help="markdown file with the section")
    options = parser.parse_args(arguments)
    rates = measure(options.photos, options.shard_rows, options.repeats)
    text = section(rates, options.photos, options.shard_rows)
    print(text)
    write_section("machines", text, options.page)


if __name__ == "__main__":
    main()
