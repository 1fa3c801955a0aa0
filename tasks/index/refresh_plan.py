"""What a refresh has to do: the source catalogue compared with the index, on the disk.

Both are read as streams into one SQLite file, so memory does not grow with the catalogue. Photos
are compared by their bytes, never by dates.
"""

import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Literal, Self, TypeVar

from tasks.data.catalogue_table import TABLE, Row, parse_labels, stream_rows
from tasks.data.photo_checks import SLICE, locate
from tasks.index.gallery_rows import item_of
from unbundle.index.change_journal import Journal, sha256
from unbundle.index.columns import Column
from unbundle.index.gallery_collection import Gallery, content_digest

Thing = TypeVar("Thing")
Outcome = Literal["added", "changed", "removed", "quarantined", "withheld"]

REPEATED = "its id occurs more than once"

_PAGE = 1000
_SCHEMA = """
CREATE TABLE source (id TEXT, line INTEGER, gallery INTEGER, digest TEXT, cells TEXT);
CREATE INDEX source_by_id ON source (id);
CREATE TABLE held (id TEXT PRIMARY KEY, source TEXT) WITHOUT ROWID;
CREATE TABLE todo (number INTEGER PRIMARY KEY, id TEXT, line INTEGER, digest TEXT, cells TEXT,
    outcome TEXT, reason TEXT DEFAULT '');
CREATE INDEX todo_by_id ON todo (id);
"""
_MARKS = {"source": "(?, ?, ?, ?, ?)", "held": "(?, ?)"}
_CHANGED = """
INSERT INTO todo (id, line, digest, cells, outcome)
SELECT source.id, line, digest, cells, CASE WHEN held.id IS NULL THEN 'added' ELSE 'changed' END
FROM source LEFT JOIN held ON held.id = source.id
WHERE gallery AND digest IS NOT COALESCE(held.source, '-') ORDER BY line
"""
_REFUSE_REPEATED = """
UPDATE todo SET outcome = 'quarantined', reason = ?
WHERE id IN (SELECT id FROM source GROUP BY id HAVING count(*) > 1)
"""
_REMOVED = """
INSERT INTO todo (id, outcome) SELECT id, 'removed' FROM held
WHERE held.source != '' AND NOT EXISTS (SELECT 1 FROM source WHERE id = held.id AND gallery)
"""
_WITHHOLD = "UPDATE todo SET outcome = 'withheld' WHERE id = ? AND digest = ? AND outcome = 'added'"


@dataclass(frozen=True)
class Task:
    """A row of the source to put into the index.

    Attributes:
        number: of the task.
        line: in `catalogue.csv`.
        cells: by column.
    """

    number: int
    line: int
    cells: Row


class Plan:
    """The work of one refresh; use it in a `with` block.

    Args:
        path: an SQLite file; one that is there is an older refresh's and goes.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        # It is thrown away with the run that made it, so nothing waits for the disk.
        self._table = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._table.execute("PRAGMA synchronous = OFF")
        self._table.execute("PRAGMA journal_mode = OFF")
        self._table.executescript(_SCHEMA)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._table.close()

    def read_source(self, folder: Path, columns: Sequence[Column]) -> Iterator[int]:
        """Read `catalogue.csv` and the photos of its gallery rows; yield the rows read so far.

        Args:
            folder: of the catalogue.
            columns: of the index; what it cannot hold is no change.

        Raises:
            UserError: the table cannot be read.
        """
        read = 0
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for page in pages(stream_rows(folder / TABLE), _PAGE):
                # A thread takes some rows at once: handing one over costs more than its digest.
                parts = pages(page, SLICE)
                digests = chain.from_iterable(
                    pool.map(lambda part: [_digest(row[1], folder, columns) for row in part], parts)
                )
                self._insert(
                    "source",
                    (
                        (cells["id"], line, cells["split"] == "gallery", digest, json.dumps(cells))
                        for (line, cells), digest in zip(page, digests, strict=True)
                    ),
                )
                read += len(page)
                yield read

    def read_index(self, gallery: Gallery) -> None:
        """Read what the index's rows were made from."""
        for page in gallery.all_traces():
            self._insert("held", ((name, trace.source) for name, trace in page.items()))

    def compare(self, journal: Journal) -> None:
        """Find what is to be done, after both were read.

        A product that a client deleted stays so until the source changes its row.
        """
        self._table.execute("BEGIN")
        self._table.execute(_CHANGED)
        self._table.execute(_REFUSE_REPEATED, (REPEATED,))
        self._table.execute(_REMOVED)
        for change in journal.changed():
            if change.item is None and change.origin == "service":
                self._table.execute(_WITHHOLD, (change.id, change.source))
        self._table.execute("COMMIT")

    def held(self) -> int:
        """Rows of the index."""
        (count,) = self._table.execute("SELECT count(*) FROM held").fetchone()
        return int(count)

    def counts(self) -> dict[Outcome, int]:
        """Products by outcome; before they are put, by what is to be done."""
        rows = self._table.execute("SELECT outcome, count(*) FROM todo GROUP BY outcome")
        return dict(rows.fetchall())

    def removed(self) -> Iterator[list[str]]:
        """Ids to delete, page by page."""
        last = ""
        query = "SELECT id FROM todo WHERE outcome = 'removed' AND id > ? ORDER BY id LIMIT ?"
        while rows := self._table.execute(query, (last, _PAGE)).fetchall():
            yield [name for (name,) in rows]
            last = rows[-1][0]

    def shards(self, size: int) -> Iterator[list[Task]]:
        """Rows to put, in the order of their lines."""
        number = 0
        query = (
            "SELECT number, line, cells FROM todo WHERE outcome IN ('added', 'changed') "
            "AND number > ? ORDER BY number LIMIT ?"
        )
        while rows := self._table.execute(query, (number, size)).fetchall():
            yield [Task(number, line, json.loads(cells)) for number, line, cells in rows]
            number = rows[-1][0]

    def refuse(self, task: Task, reason: str) -> None:
        """Note that a row is in quarantine."""
        query = "UPDATE todo SET outcome = 'quarantined', reason = ? WHERE number = ?"
        self._table.execute(query, (reason, task.number))

    def outcomes(self) -> Iterator[dict[str, str | int]]:
        """What became of every product that is not as it was."""
        query = "SELECT id, outcome, line, reason FROM todo ORDER BY number"
        for name, outcome, line, reason in self._table.execute(query):
            where = {"line": line, "reason": reason} if outcome == "quarantined" else {}
            yield {"id": name, "outcome": outcome, **where}

    def _insert(self, table: str, rows: Iterable[tuple[object, ...]]) -> None:
        self._table.execute("BEGIN")
        self._table.executemany(f"INSERT INTO {table} VALUES {_MARKS[table]}", rows)
        self._table.execute("COMMIT")


def pages(things: Iterable[Thing], size: int) -> Iterator[list[Thing]]:
    """Cut a stream into lists."""
    rest = iter(things)
    while page := list(islice(rest, size)):
        yield page


def _digest(cells: Row, folder: Path, columns: Sequence[Column]) -> str | None:
    """None where the photo cannot be read, which validation will say."""
    if cells["split"] != "gallery":
        return None
    try:
        photo = locate(folder, cells["image"]).read_bytes()
    except (OSError, ValueError):
        return None
    item = item_of(cells, parse_labels(cells["labels"]))
    return content_digest(item, sha256(photo), columns)
