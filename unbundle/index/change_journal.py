"""What was changed in a serving index since its ingestion, kept for the indexes to come.

Every live change (a refresh, PUT and DELETE of the service) is recorded before it is made: its row
in an SQLite table that only grows until a promotion, its photo in a file named by its SHA-256. An
entry is there whole and on the disk, or not at all. Several threads and processes may write.
"""

import errno
import fcntl
import hashlib
import json
import os
import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from unbundle.base.atomic import atomic_file
from unbundle.base.errors import UserError
from unbundle.index.gallery_collection import Item

Origin = Literal["refresh", "service"]

DEFAULT_FOLDER = Path("data/journal")

_TABLE = "changes.sqlite"
_LOCK = "lock"
_PAGE = 1000
_WAIT = 60.0  # seconds for another writer
_SCHEMA = """
CREATE TABLE IF NOT EXISTS changes (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL,
    origin TEXT NOT NULL,
    source TEXT NOT NULL,
    item TEXT,
    photo TEXT,
    at TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS by_id ON changes (id, position);
CREATE INDEX IF NOT EXISTS by_photo ON changes (photo);
"""
_COLUMNS = "position, id, origin, source, item, photo, at"
_LATEST = (
    f"SELECT {_COLUMNS} FROM changes AS one WHERE position > ? AND NOT EXISTS "
    "(SELECT 1 FROM changes WHERE id = one.id AND position > one.position) "
    "ORDER BY position LIMIT ?"
)


_FULL = (errno.ENOSPC, errno.EDQUOT)
_ROOM = 1 << 20  # bytes that a change needs beside its photos: the table's pages, twice


class JournalFullError(UserError):
    """There is no room to record a change; it was neither recorded nor made."""


@dataclass(frozen=True)
class Change:
    """A product that was put into a serving index, or deleted from it.

    Attributes:
        id: of the product.
        origin: who changed it: `refresh` follows the source catalogue, `service` its clients.
        source: `unbundle.index.gallery_collection.RowOrigin.source` of the row.
        item: the row with all columns that were given; None: deleted.
        photo: SHA-256 of the photo's file; empty where deleted.
        position: in the journal, from 1 on; 0 before it is recorded.
        at: when, ISO 8601, UTC.
    """

    id: str
    origin: Origin
    source: str
    item: Item | None = None
    photo: str = ""
    position: int = 0
    at: str = ""


class Journal:
    """The changes in a folder, which the first one makes.

    Args:
        folder: `changes.sqlite`, and `photos/<first two digits>/<SHA-256>`.
    """

    def __init__(self, folder: Path = DEFAULT_FOLDER) -> None:
        self.folder = folder
        self._lacking = 0

    @property
    def full(self) -> bool:
        """Whether there was no room for the last change, and there still is not."""
        if self._lacking:
            try:
                with _told_when_full(self.folder), tempfile.TemporaryFile(dir=self.folder) as file:
                    os.posix_fallocate(file.fileno(), 0, self._lacking)
            except (JournalFullError, OSError):
                return True
            self._lacking = 0
        return False

    def append(self, changes: Sequence[Change], photos: Sequence[bytes] = ()) -> None:
        """Record changes with their photos, all of them or none, on the disk when this returns.

        A change that says what the last one of its id says is not recorded again.

        Raises:
            JournalFullError: the disk is full.
        """
        try:
            with _told_when_full(self.folder):
                self._append(changes, photos)
        except JournalFullError:
            self._lacking = sum(map(len, photos)) + _ROOM
            raise
        self._lacking = 0

    def _append(self, changes: Sequence[Change], photos: Sequence[bytes]) -> None:
        with self._writing() as table:
            for photo in photos:
                self._keep(photo)
            for change in changes:
                last = _read(table, "id = ? ORDER BY position DESC LIMIT 1", change.id)
                if last and _same(last[0], change):
                    continue
                item = None if change.item is None else json.dumps(asdict(change.item))
                at = datetime.now(UTC).isoformat(timespec="milliseconds")
                table.execute(
                    "INSERT INTO changes VALUES (NULL, ?, ?, ?, ?, ?, ?)",
                    (change.id, change.origin, change.source, item, change.photo, at),
                )

    @contextmanager
    def order(self) -> Iterator[None]:
        """Let no one else record and make changes: an index takes them in the journal's order.

        Raises:
            JournalFullError: the disk is too full for the lock's file.
        """
        with _told_when_full(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            file = (self.folder / _LOCK).open("wb")
        with file as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def latest(self, position: int, most: int) -> list[Change]:
        """The last changes of products, one each, beyond a position, in the journal's order."""
        return self._read(_LATEST, position, most)

    def changed(self) -> Iterator[Change]:
        """The last change of every product."""
        position = 0
        while page := self.latest(position, _PAGE):
            yield from page
            position = page[-1].position

    def last(self, identifier: str) -> Change | None:
        """The last change of one product."""
        where = f"SELECT {_COLUMNS} FROM changes WHERE id = ? ORDER BY position DESC LIMIT 1"
        return next(iter(self._read(where, identifier)), None)

    def photo(self, change: Change) -> bytes:
        """The photo of a change, the file as it came.

        Raises:
            UserError: it is gone.
        """
        path = self._path(change.photo)
        try:
            return path.read_bytes()
        except FileNotFoundError:
            raise UserError(
                f"{path}: no such file, the photo of id {change.id}; restore it, or put the "
                "product again"
            ) from None

    def forget(self, positions: Sequence[int]) -> None:
        """Drop changes and the earlier ones of the same ids, and photos that no other one has."""
        if not positions:
            return
        with self._writing() as table:
            for position in positions:
                # A change that was recorded since then stays.
                for change in _read(
                    table,
                    "position <= ? AND id = (SELECT id FROM changes WHERE position = ?)",
                    position,
                    position,
                ):
                    table.execute("DELETE FROM changes WHERE position = ?", (change.position,))
                    if change.photo and not _read(table, "photo = ? LIMIT 1", change.photo):
                        self._path(change.photo).unlink(missing_ok=True)

    def _keep(self, photo: bytes) -> None:
        path = self._path(sha256(photo))
        if path.is_file():
            return
        with atomic_file(path) as temporary, temporary.open("wb") as file:
            file.write(photo)
            file.flush()
            os.fsync(file.fileno())

    def _path(self, digest: str) -> Path:
        return self.folder / "photos" / digest[:2] / digest

    def _read(self, query: str, *values: object) -> list[Change]:
        if not (self.folder / _TABLE).is_file():
            return []
        with closing(self._open()) as table:
            # A disk that was full at the very first change leaves a file without its table.
            if not table.execute("SELECT 1 FROM sqlite_master WHERE name = 'changes'").fetchone():
                return []
            return [_change(row) for row in table.execute(query, values)]

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        self.folder.mkdir(parents=True, exist_ok=True)
        with closing(self._open()) as table:
            table.executescript(_SCHEMA)
            # One writer at a time, so no photo goes that another one is about to name.
            table.execute("BEGIN IMMEDIATE")
            yield table
            table.execute("COMMIT")

    def _open(self) -> sqlite3.Connection:
        table = sqlite3.connect(self.folder / _TABLE, timeout=_WAIT, isolation_level=None)
        table.execute("PRAGMA synchronous = FULL")
        return table


@contextmanager
def _told_when_full(folder: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, sqlite3.OperationalError) as error:
        code = getattr(error, "sqlite_errorcode", None)
        if code == sqlite3.SQLITE_FULL or (isinstance(error, OSError) and error.errno in _FULL):
            raise JournalFullError(f"{folder}: no room for a change; make some") from error
        raise


def sha256(content: bytes) -> str:
    """SHA-256 in hex."""
    return hashlib.sha256(content).hexdigest()


def _read(table: sqlite3.Connection, where: str, *values: object) -> list[Change]:
    rows = table.execute(f"SELECT {_COLUMNS} FROM changes WHERE {where}", values)
    return [_change(row) for row in rows.fetchall()]


def _change(row: tuple[Any, ...]) -> Change:
    position, identifier, origin, source, item, photo, at = row
    known = None if item is None else Item(**json.loads(item))
    return Change(identifier, origin, source, known, photo, position, at)


def _same(one: Change, other: Change) -> bool:
    def content(change: Change) -> tuple[object, ...]:
        return (change.origin, change.source, change.item, change.photo)

    return content(one) == content(other)
