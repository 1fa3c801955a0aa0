import errno
import os
import signal
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unbundle.base.errors import UserError
from unbundle.index.change_journal import Change, Journal, JournalFullError, sha256
from unbundle.index.gallery_collection import Item

PROJECT = Path(__file__).parents[3]


def change(name: str, photo: bytes = b"photo", caption: str = "red") -> Change:
    return Change(name, "service", "", Item(name, "", caption, "", {"price": "1"}), sha256(photo))


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal")


def test_the_last_change_of_each_product_counts(journal: Journal) -> None:
    assert list(journal.changed()) == []
    assert journal.last("a") is None
    journal.append([change("a"), change("b")], [b"photo"])
    journal.append([change("a", b"other")], [b"other"])
    journal.append([Change("b", "service", "")])
    found = list(journal.changed())
    assert [(one.id, one.position, one.item is None) for one in found] == [
        ("a", 3, False),
        ("b", 4, True),
    ]
    assert journal.photo(found[0]) == b"other"
    assert journal.latest(3, 10) == found[1:]
    assert found[0].at.endswith("+00:00")


def test_saying_it_twice_is_saying_it_once(journal: Journal) -> None:
    for _ in range(2):
        journal.append([change("a"), change("b")], [b"photo"])
    assert [one.position for one in journal.changed()] == [1, 2]


def test_a_photo_goes_with_its_last_change(journal: Journal) -> None:
    journal.append([change("a"), change("b")], [b"photo"])
    journal.append([change("a", b"other")], [b"other"])
    journal.forget([3])
    assert [one.id for one in journal.changed()] == ["b"]
    assert journal.photo(change("b")) == b"photo"
    with pytest.raises(UserError, match="the photo of id a; restore it, or put the product again"):
        journal.photo(change("a", b"other"))
    journal.forget([])


def test_a_change_since_then_is_not_forgotten(journal: Journal) -> None:
    journal.append([change("a")], [b"photo"])
    journal.append([change("a", caption="green")], [b"photo"])
    journal.forget([1])
    (left,) = journal.changed()
    assert left.item is not None
    assert left.item.caption == "green"
    assert journal.photo(left) == b"photo"


@settings(max_examples=20)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.text(max_size=5)), max_size=12))
def test_any_texts_come_back(
    tmp_path_factory: pytest.TempPathFactory, texts: list[tuple[str, str]]
) -> None:
    journal = Journal(tmp_path_factory.mktemp("texts"))
    journal.append([change(name, caption=caption) for name, caption in texts], [b"photo"])
    assert {one.id: one.item and one.item.caption for one in journal.changed()} == dict(texts)


def test_many_writers_lose_nothing(journal: Journal) -> None:
    def write(writer: int) -> None:
        for number in range(10):
            name = f"{writer}-{number}"
            journal.append([change(name, name.encode())], [name.encode()])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    found = list(journal.changed())
    assert len(found) == 40
    assert {journal.photo(one).decode() for one in found} == {one.id for one in found}


KILLED = """
import os, pathlib, signal, sys
sys.path.insert(0, sys.argv[2])
from unbundle.index import change_journal as journal

class Dying(journal.Journal):
    def _keep(self, photo):
        super()._keep(photo)
        if photo == b"last":
            os.kill(os.getpid(), signal.SIGKILL)

kept = Dying(pathlib.Path(sys.argv[1]))
item = journal.Item("a", "", "", "")
kept.append([journal.Change("a", "service", "", item, journal.sha256(b"first"))], [b"first"])
kept.append([journal.Change("b", "service", "", item, journal.sha256(b"last"))], [b"last"])
"""


def test_a_killed_writer_leaves_whole_entries(journal: Journal) -> None:
    command = [sys.executable, "-c", KILLED, str(journal.folder), str(PROJECT)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    assert [one.id for one in journal.changed()] == ["a"]
    journal.append([change("c")], [b"photo"])
    assert [one.id for one in journal.changed()] == ["a", "c"]


def fill(patched: pytest.MonkeyPatch, part: str) -> None:
    """Let the disk be full for photos or for the table."""

    def no_room(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    if part == "table":
        opened = Journal._open

        def full(journal: Journal) -> sqlite3.Connection:
            table = opened(journal)
            table.execute("PRAGMA max_page_count = 1")  # SQLite never goes below what there is
            return table

        patched.setattr(Journal, "_open", full)
    else:
        patched.setattr(os, "fsync", no_room)
    patched.setattr(os, "posix_fallocate", no_room)


@pytest.mark.parametrize("part", ["photos", "table"])
def test_a_full_disk_records_nothing_until_there_is_room(journal: Journal, part: str) -> None:
    journal.append([change("a")], [b"photo"])
    large = change("b", b"other", "red " * 10_000)
    with pytest.MonkeyPatch.context() as patched:
        fill(patched, part)
        with pytest.raises(JournalFullError, match="journal: no room for a change; make some"):
            journal.append([large], [b"other"])
        assert journal.full
        assert [one.id for one in journal.changed()] == ["a"]
    assert not list(journal.folder.rglob("*.part"))
    assert not journal.full
    journal.append([large], [b"other"])
    assert [one.id for one in journal.changed()] == ["a", "b"]


def test_other_faults_of_the_disk_are_not_taken_for_a_full_one(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(OSError, match="broken"):
        journal.append([change("a")], [b"photo"])
    assert not journal.full
