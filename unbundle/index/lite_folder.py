"""The files of a Milvus Lite folder, looked at before Milvus Lite opens them.

Lite mends what it cannot read by falling back to an older manifest, and deletes the rows that this
one does not know. So a folder whose files do not fit together is not opened at all.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_PARQUET = b"PAR1"


def damage(folder: Path) -> str | None:
    """The first thing that is wrong with a folder's files, None where all fit together.

    Collections that no alias names are not looked at: a drop that was interrupted leaves a part of
    one, and what serves does not depend on it.

    Args:
        folder: that no process writes to.
    """
    try:
        return next(_findings(folder), None)
    except OSError as error:
        return f"{error.filename or folder}: {error.strerror}"


def _findings(folder: Path) -> Iterator[str]:
    aliases = folder / "aliases.json"
    wrong = list(_unless_json(aliases, needed=False))
    yield from wrong
    named = {} if wrong or not aliases.exists() else _read(aliases)
    for name in sorted({str(target) for target in named.values()}):
        place = folder / "collections" / name
        yield from _unless_json(place / "schema.json", needed=True)
        wrong = list(_unless_json(place / "manifest.json", needed=True))
        yield from wrong
        if not wrong:
            yield from _lost_rows(place)


def _unless_json(path: Path, *, needed: bool) -> Iterator[str]:
    try:
        if not isinstance(_read(path), dict):
            yield f"{path}: expected a JSON object"
    except FileNotFoundError:
        if needed:
            yield f"{path}: no such file"
    except (OSError, ValueError):
        yield f"{path}: cut off, or no JSON"


def _lost_rows(place: Path) -> Iterator[str]:
    partitions = _read(place / "manifest.json").get("partitions", {})
    if not isinstance(partitions, dict) or not all(map(_is_partition, partitions.values())):
        yield f"{place / 'manifest.json'}: expected partitions with their files"
        return
    for name, files in partitions.items():
        for file in [*files["data_files"], *files["delta_files"]]:
            path = place / "partitions" / name / file
            if not _is_whole(path):
                yield f"{path}: missing, or cut off"


def _is_partition(files: object) -> bool:
    return isinstance(files, dict) and all(
        isinstance(files.get(key), list) and all(isinstance(path, str) for path in files[key])
        for key in ("data_files", "delta_files")
    )


def _is_whole(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            head = file.read(len(_PARQUET))
            file.seek(-len(_PARQUET), 2)
            return head == file.read() == _PARQUET
    except OSError:
        return False


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
