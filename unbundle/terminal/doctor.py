"""What can be wrong with an installation, each as one line that says what to do."""

import os
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from unbundle.base.errors import UserError
from unbundle.encoding.model_bundle import Bundle, bundle_folders

PACKAGES = ("onnxruntime", "pymilvus", "milvus-lite", "tokenizers", "numpy", "pillow")
MOST_LITE_ROWS = 100_000
"""Beyond it a search on Milvus Lite takes tenths of a second."""


@dataclass(frozen=True)
class Finding:
    """One checked fact."""

    state: Literal["ok", "warn", "fail"]
    text: str
    """What was found and, unless all is well, what to do."""


def examine(bundles: Path, uri: str | None) -> Iterator[Finding]:
    """Check packages, environment, bundles, Milvus, and that the promoted index has its bundle.

    Args:
        bundles: a bundle's folder, or a folder of them by version.
        uri: Milvus, see `unbundle.index.milvus_database.Database`.
    """
    yield from _packages()
    yield _threads()
    yield from _bundles(bundles)
    yield from _milvus(bundles, uri)


def _packages() -> Iterator[Finding]:
    try:
        found = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
        yield Finding("ok", f"Python {platform.python_version()}, {found}")
    except PackageNotFoundError as error:
        yield Finding("fail", f"package {error.name} is missing; run `pip install unbundle`")


def _threads() -> Finding:
    if os.environ.get("OMP_WAIT_POLICY", "").upper() == "PASSIVE":
        return Finding("ok", "OpenMP threads sleep while they wait")
    return Finding(
        "warn",
        "OpenMP threads spin while they wait, which slows whatever shares the cores; "
        "export OMP_WAIT_POLICY=PASSIVE GOMP_SPINCOUNT=0",
    )


def _bundles(folder: Path) -> Iterator[Finding]:
    found = bundle_folders(folder)
    if not found:
        yield Finding("fail", f"{folder}: no bundle; run `make demo`, or copy one there")
    for place in found:
        try:
            bundle = Bundle.open(place)
            yield Finding("ok", f"bundle {bundle.version} in {place}: every file has its digest")
        except UserError as error:
            yield Finding("fail", str(error))


def _milvus(bundles: Path, uri: str | None) -> Iterator[Finding]:
    from unbundle.index.milvus_database import CHAMPION, Database, is_lite, shown
    from unbundle.query.search import bundle_of

    try:
        with Database(uri) as database:
            lite = is_lite(database.uri)
            yield Finding("ok", f"Milvus {database.version} at {shown(database.uri)}")
            if lite:
                yield Finding(
                    "ok",
                    "while Milvus Lite is open, other programs of this machine can reach it on a "
                    "loopback port without a password; use a server where that matters",
                )
            gallery = database.gallery()
            rows = gallery.count()
            yield Finding("ok", f"alias {CHAMPION} names {gallery.name}, {rows:,} rows")
            gallery.check_rows()
            if lite and rows > MOST_LITE_ROWS:
                yield Finding("warn", f"{rows:,} rows are many for Milvus Lite; set MILVUS_URI")
            version = bundle_of(gallery, bundles).version
            yield Finding("ok", f"bundle {version} made {gallery.name}")
    except UserError as error:
        yield Finding("fail", str(error))
