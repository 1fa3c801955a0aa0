"""What serves, what served before and what else is there: what `unbundle status` shows."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from rich.console import Console
from rich.table import Table

from unbundle.encoding.model_bundle import bundle_folders, is_plain
from unbundle.index.milvus_database import CHAMPION, PREVIOUS, Collection, Database, shown

METRICS = ("mAP@", "coverage@")
"""Beginnings of the gate's figures that the table shows."""

_BYTES = 4  # of a vector's number
_UNITS = (("d", 86400), ("h", 3600), ("min", 60))


@dataclass(frozen=True)
class Version:
    """One index and the bundle that made it."""

    role: str
    """champion, previous, earlier (it served once), or candidate (it never did)."""
    index: Collection
    bundle_bytes: int | None
    """Of the bundle's folder; None where it is gone, and the index cannot serve."""
    vector_bytes: int
    """Of the vectors alone."""
    plain: bool
    """Whether it ranks by untrained terms alone."""

    @property
    def size(self) -> int:
        """Bytes of bundle and vectors."""
        return (self.bundle_bytes or 0) + self.vector_bytes


@dataclass(frozen=True)
class History:
    """Every index of a database, the newest first."""

    milvus: str
    uri: str
    """Without a password."""
    bundles: str
    """Folder of the bundles."""
    champion: str | None
    previous: str | None
    versions: tuple[Version, ...]
    bundle_versions: tuple[str, ...]
    """All that are in `bundles`, needed or not."""

    @classmethod
    def read(cls, database: Database, bundles: Path) -> Self:
        """Ask a database, and look for the bundles.

        Args:
            database: an open one.
            bundles: a bundle's folder, or a folder of them by version.
        """
        folders = {folder.name: folder for folder in bundle_folders(bundles)}
        sizes = {name: _size(folder) for name, folder in folders.items()}
        plain = {name for name, folder in folders.items() if is_plain(folder)}
        return cls(
            database.version,
            shown(database.uri),
            str(bundles),
            database.target(CHAMPION),
            database.target(PREVIOUS),
            tuple(
                _version(item, sizes.get(item.bundle), item.bundle in plain)
                for item in database.collections()
            ),
            tuple(folders),
        )

    def to_dict(self) -> dict[str, Any]:
        """Everything as JSON values."""
        return asdict(self)

    def show(self, console: Console) -> None:
        """Print it for people."""
        console.print(f"Milvus {self.milvus} at {self.uri}")
        console.print(f"{CHAMPION}: {self.champion or 'nothing'}")
        console.print(f"{PREVIOUS}: {self.previous or 'nothing'}")
        if self.versions:
            console.print(self._table())
        console.print(f"bundles in {self.bundles}: {', '.join(self.bundle_versions) or 'none'}")
        for version in self.versions:
            if version.plain:
                console.print(f"{version.index.name}: the plain search, no trained term ranks")
            if version.bundle_bytes is None and version.role != "candidate":
                console.print(
                    f"{version.index.name}: its bundle {version.index.bundle} is gone; copy it "
                    f"to {self.bundles}, or it cannot serve"
                )

    def _table(self) -> Table:
        metrics = _metrics(version.index for version in self.versions)
        table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
        for name in ("", "index", "bundle"):
            table.add_column(name, no_wrap=True)
        for name in ("rows", *metrics, "age", "size"):
            table.add_column(name.replace("@", "\n@"), justify="right")
        for version in self.versions:
            index = version.index
            figures = (index.evaluation.get(name) for name in metrics)
            table.add_row(
                version.role,
                index.name,
                index.bundle,
                f"{index.rows:,}",
                *("" if figure is None else f"{figure:.3f}" for figure in figures),
                age(index.created),
                f"{version.size / 1e6:,.1f} MB",
            )
        return table


def age(moment: str) -> str:
    """Time since a moment (ISO 8601) in its largest unit, such as `3 d`; empty if unknown."""
    if not moment:
        return ""
    seconds = (datetime.now(UTC) - datetime.fromisoformat(moment)).total_seconds()
    for unit, length in _UNITS:
        if seconds >= length:
            return f"{seconds // length:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"


def _version(index: Collection, bundle_bytes: int | None, plain: bool) -> Version:
    roles = {CHAMPION: "champion", PREVIOUS: "previous"}
    named = [role for alias, role in roles.items() if alias in index.aliases]
    role = named[0] if named else "earlier" if index.promoted else "candidate"
    return Version(role, index, bundle_bytes, index.rows * index.dimension * _BYTES, plain)


def _metrics(indexes: Iterable[Collection]) -> list[str]:
    names = {name for index in indexes for name in index.evaluation if name.startswith(METRICS)}
    return sorted(names, key=lambda name: (not name.startswith(METRICS[0]), name))


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
