"""What a refresh costs beside an ingestion, and whether its memory grows with the catalogue.

A shop of single-product photos with a trained bundle, or with given networks
(`tests/support/tiny_bundle`) that cost next to nothing: all else weighs more then. Each step runs
in a process of its own, its peak memory is the kernel's, and its cost is the processor time of all
its threads: on a shared machine that is what can be compared.

- `ingest`: the whole catalogue into a new index;
- `nothing`: a refresh that finds no difference;
- `one`: a refresh with one changed product, which imports validation and loads the networks; of the
  smallest shop it is the constant, which no catalogue makes larger;
- `share`: a refresh with 1 % of the products changed.

Refreshes are repeated, and the cheapest counts: what else a machine does makes them dearer only.
Milvus is the server of MILVUS_URI, else Milvus Lite, which keeps its rows in the memory of the
process that asks.

    python -m benchmarks.milvus_server data/milvus-server -- python -m benchmarks.refresh \\
        --products 100 --products 2000 --products 10000 --bundle artifacts/bundle
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
from PIL import Image

from benchmarks.performance_page import PAGE, write_section
from tasks.base.params import load_params
from tasks.base.progress import track
from tasks.base.workspace import Workspace
from tasks.data.catalogue_table import COLUMNS
from tasks.index.ingestion_receipt import Receipt, milvus_uri
from tasks.ingest import ingest
from tasks.refresh import refresh
from tests.support.tiny_model_bundle import scene, write_bundle
from unbundle.index.milvus_database import Database

PROJECT = Path(__file__).parents[1]
SHARE = 0.01
MEGABYTE = 1_048_576


def write_shop(root: Path, products: int, bundle: Path | None) -> None:
    """A catalogue of `products` rows, its manifest, a bundle and `params.yaml` below `root`."""
    text = (PROJECT / "params.yaml").read_text(encoding="utf-8")
    (root / "params.yaml").write_text(text.replace("scale: demo", "scale: tiny", 1), "utf-8")
    workspace = Workspace(root)
    (workspace.catalogue / "images").mkdir(parents=True)
    rows = []
    for number in track(range(products), f"drawing {products:,} products"):
        draw(workspace, number, number)
        row = {"id": f"p{number}", "image": f"images/{number}.png", "caption": f"red {number}"}
        row |= {"labels": f"product {number}", "split": "gallery", "kind": "single", "boxes": ""}
        rows.append(row | {"price": str(number)})
    lines = [",".join(row.values()) for row in rows]
    head = ",".join([*COLUMNS, "price"])
    (workspace.catalogue / "catalogue.csv").write_text("\n".join([head, *lines]) + "\n", "utf-8")
    manifest = pa.Table.from_pylist([row | {"labels": [row["labels"]]} for row in rows])
    pyarrow.parquet.write_table(manifest, workspace.manifest)
    if bundle is None:
        write_bundle(workspace.bundle)
    else:
        shutil.copytree(bundle, workspace.bundle)


def draw(workspace: Workspace, number: int, seed: int) -> None:
    """The photo of a product; another seed is another photo."""
    noise = np.random.default_rng(seed).integers(0, 30, (64, 64, 3), np.uint8)
    path = workspace.catalogue / f"images/{number}.png"
    Image.fromarray(np.maximum(scene([seed % 1000]), noise)).save(path)


def step(name: str, root: Path) -> dict[str, float]:
    """Run `ingest` or `refresh` below `root` here: processor seconds, peak memory in MB."""
    workspace, params = Workspace(root), load_params(root / "params.yaml")
    started = time.process_time()
    if name == "ingest":
        ingest(workspace, params)
    else:
        refresh(workspace, params)
    seconds = time.process_time() - started
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    peak = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return {"seconds": seconds, "megabytes": int(peak.split()[1]) * 1024 / MEGABYTE}


def measure(products: int, bundle: Path | None, repeats: int) -> dict[str, dict[str, float]]:
    """Figures of every step on a shop of this size."""
    found = {}
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        workspace = Workspace(root)
        write_shop(root, products, bundle)
        found["ingest"] = _apart("ingest", root)
        receipt = Receipt.read(workspace.receipt)
        shutil.copytree(workspace.bundle, workspace.bundles / receipt.bundle)
        with Database(milvus_uri(workspace, load_params(root / "params.yaml").ingest)) as database:
            database.promote(receipt.collection)
        seed = products
        for name, count in (("nothing", 0), ("one", 1), ("share", _changed(products))):
            runs = []
            for _ in range(repeats):
                for number in range(count):
                    seed += 1
                    draw(workspace, number, seed)
                runs.append(_apart("refresh", root))
            found[name] = min(runs, key=lambda run: run["seconds"])
    return found


def _changed(products: int) -> int:
    return max(2, round(SHARE * products))


def _apart(name: str, root: Path) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.refresh", "--step", name, "--root", str(root)]
    done = subprocess.run(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True, check=True)
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    print(f"  {name}: {result['seconds']:.2f} s, {result['megabytes']:.0f} MB", flush=True)
    return result


def section(results: dict[int, dict[str, dict[str, float]]], trained: bool) -> str:
    """The section of the page, markdown: one row per size."""
    networks = "a trained bundle" if trained else "networks that cost next to nothing"
    place = "a Milvus server" if os.environ.get("MILVUS_URI") else "Milvus Lite"
    title = f"""## Refresh

Processor time of all threads and peak memory, photos of one product, {networks}, {place}
(`python -m benchmarks.refresh`; see the module for what each column is).
"""
    head = ["products", "ingest", "nothing changed", "one changed", "1 % changed"]
    head += ["beyond the constant, of an ingestion", "peak MB: ingest", "1 % changed"]
    lines = [title, f"| {' | '.join(head)} |", "| --- " * len(head) + "|"]
    constant = results[min(results)]["one"]["seconds"]
    for products, found in results.items():
        seconds = [f"{found[name]['seconds']:.2f} s" for name in found]
        memory = [f"{found[name]['megabytes']:.0f}" for name in ("ingest", "share")]
        beyond = (found["share"]["seconds"] - constant) / found["ingest"]["seconds"]
        cells = [*seconds, f"{beyond:.1%}", *memory]
        lines.append(f"| {products:,} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure shops of some sizes, print the table and write it."""
    title = (__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.refresh", description=title)
    parser.add_argument("--products", type=int, action="append")
    parser.add_argument("--bundle", type=Path, help="a trained one; none: given networks")
    parser.add_argument("--repeats", type=int, default=3, help="of each refresh")
    parser.add_argument("--page", type=Path, default=PAGE, help="markdown file with the section")
    parser.add_argument("--step", choices=["ingest", "refresh"], help=argparse.SUPPRESS)
    parser.add_argument("--root", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.step:
        print(json.dumps(step(options.step, options.root)))
        return
    results = {}
    for products in options.products or [100, 2000, 10_000]:
        print(f"{products:,} products", flush=True)
        results[products] = measure(products, options.bundle, options.repeats)
    text = section(results, options.bundle is not None)
    print(text)
    write_section("refresh", text, options.page)


if __name__ == "__main__":
    main()
