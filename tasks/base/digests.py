"""Content digests: what tells whether half-done work still fits its inputs."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

from pydantic import BaseModel


def digest(*inputs: Path | BaseModel | str | int) -> str:
    """SHA-256 in hex over the contents of files, the values of parameters, texts and numbers."""
    total = hashlib.sha256()
    for item in inputs:
        total.update(hashlib.sha256(_content(item)).digest())
    return total.hexdigest()


def _content(item: Path | BaseModel | str | int) -> bytes:
    if isinstance(item, Path):
        return item.read_bytes()
    return (item.model_dump_json() if isinstance(item, BaseModel) else str(item)).encode()


def folder_files(folder: Path) -> Iterable[Path]:
    """All files below a folder, in the order of their names."""
    return sorted(path for path in folder.rglob("*") if path.is_file())
