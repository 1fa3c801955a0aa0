import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from unbundle.base.errors import UserError
from unbundle.index.gallery_collection import Item
from unbundle.index.milvus_database import CHAMPION, PREVIOUS, Database, address, is_locked, shown

OLD, NEW, NEWER = (f"products_{digit * 12}" for digit in "012")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "milvus.db"


@pytest.fixture
def database(folder: Path) -> Iterator[Database]:
    with Database(str(folder), create=True) as opened:
        for name in (OLD, NEW, NEWER):
            gallery = opened.create_gallery(name, 2, (), {"bundle": f"of {name}"})
            gallery.upsert([Item("a", "", name, "")], np.float32([[1, 0]]))
        yield opened


def served(database: Database) -> str:
    (hits,) = database.gallery().search(np.float32([[1, 0]]), 1)
    return hits[0].caption


def test_promotion_moves_the_alias_and_keeps_the_way_back(database: Database) -> None:
    database.promote(OLD)
    assert (served(database), database.target(PREVIOUS)) == (OLD, None)
    database.promote(NEW)
    assert (served(database), database.target(PREVIOUS)) == (NEW, OLD)
    database.promote(NEW)
    assert (served(database), database.target(PREVIOUS)) == (NEW, OLD)
    database.promote(NEWER)
    assert (served(database), database.target(PREVIOUS)) == (NEWER, NEW)


def test_rollback_goes_back_once(database: Database) -> None:
    database.promote(OLD)
    database.promote(NEW)
    assert database.rollback() == (NEW, OLD)
    assert served(database) == OLD
    with pytest.raises(UserError, match=f"no index before {OLD} to go back to"):
        database.rollback()
    database.promote(NEW)
    assert database.rollback() == (NEW, OLD)


def test_rollback_reaches_whatever_served(database: Database) -> None:
    for name in (OLD, NEW, NEWER):
        database.promote(name)
    assert database.rollback("products_0") == (NEWER, OLD)
    assert (served(database), database.target(PREVIOUS)) == (OLD, OLD)
    with pytest.raises(UserError, match=f"no index before {OLD}"):
        database.rollback()  # forward would not be back
    assert database.rollback(f"of {NEWER}") == (OLD, NEWER)
    assert served(database) == NEWER


@pytest.mark.parametrize(
    ("version", "line"),
    [
        ("products_", "products_: 3 indexes of that name; `unbundle status` lists them"),
        ("", ": no index of that name"),
        ("products_9", "products_9: no index of that name"),
        (NEW, f"{NEW}: serves already"),
        (NEWER, f"{NEWER}: was never promoted, so no gate has judged it"),
    ],
)
def test_rollback_names_what_it_cannot_serve(database: Database, version: str, line: str) -> None:
    database.promote(OLD)
    database.promote(NEW)
    with pytest.raises(UserError, match=f"^{line}"):
        database.rollback(version)
    assert served(database) == NEW


def test_rollback_without_a_promotion_is_refused(database: Database) -> None:
    with pytest.raises(UserError, match="nothing is promoted"):
        database.rollback()
    database.promote(OLD)
    with pytest.raises(UserError, match=f"no index before {OLD}"):
        database.rollback()


def test_only_an_existing_collection_is_promoted(database: Database) -> None:
    database.promote(OLD)
    with pytest.raises(UserError, match="no collection products_nothing"):
        database.promote("products_nothing")
    # Promoting an alias's name would make the alias its own way back.
    with pytest.raises(UserError, match="no collection products;"):
        database.promote(CHAMPION)
    assert served(database) == OLD


def test_garbage_is_what_no_alias_names(database: Database) -> None:
    database.client.create_collection("products_of_someone_else", dimension=2)
    database.promote(OLD)
    assert database.collect_garbage(keep=1) == [NEW]
    assert database.collect_garbage(keep=1) == []
    database.promote(NEWER)
    assert database.collect_garbage(keep=0) == []
    database.client.create_alias(OLD, "of_a_colleague")
    database.client.drop_alias(PREVIOUS)
    assert database.collect_garbage(keep=0) == []
    database.client.drop_alias("of_a_colleague")
    assert database.collect_garbage(keep=0) == [OLD]
    assert served(database) == NEWER
    assert database.exists("products_of_someone_else")


def test_collections_are_listed_newest_first(database: Database) -> None:
    database.promote(NEW)
    listed = database.collections()
    assert [item.name for item in listed] == [NEWER, NEW, OLD]
    assert listed[1].aliases == (CHAMPION,)
    assert listed[1].bundle == f"of {NEW}"
    assert listed[1].rows == 1


def test_an_absent_index_says_what_to_run(database: Database) -> None:
    with pytest.raises(UserError, match=r"no promoted index \(alias products\); run `make demo`"):
        database.gallery()
    with pytest.raises(UserError, match="no collection products_x"):
        database.gallery("products_x")


def test_creating_again_opens_what_is_there(database: Database) -> None:
    assert database.create_gallery(OLD, 2).count() == 1
    with pytest.raises(ValueError, match="expected products_<12 hex>"):
        database.create_gallery("products", 2)


def test_an_index_that_a_kill_left_out_is_made(database: Database) -> None:
    database.client.release_collection(OLD)
    database.client.drop_index(OLD, "vector")
    (hits,) = database.create_gallery(OLD, 2).search(np.float32([[1, 0]]), 1)
    assert hits[0].caption == OLD


def test_closing_lets_the_next_process_in(database: Database, folder: Path) -> None:
    with Database(str(folder)) as second:
        assert second.exists(OLD)
    assert is_locked(folder)  # the first one still has it
    assert database.exists(OLD)
    database.close()
    assert not is_locked(folder)
    with Database(str(folder)) as again:
        assert again.exists(OLD)


def test_a_folder_that_another_process_has_open_is_refused(folder: Path) -> None:
    program = (
        "import sys; from unbundle.index.milvus_database import Database\n"
        "with Database(sys.argv[1], create=True): print('open', flush=True); sys.stdin.read()"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", program, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == "open\n"
        with pytest.raises(
            UserError, match="open in another process; stop it, or share the folder"
        ):
            Database(str(folder))
    finally:
        child.communicate("")
    assert child.returncode == 0
    Database(str(folder)).close()


def test_a_missing_database_is_made_only_on_demand(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such Milvus database; run `make demo`"):
        Database(str(folder))
    assert not folder.exists()
    deep = tmp_path / "new" / "milvus.db"
    Database(str(deep), create=True).close()
    assert deep.is_dir()


def test_places_that_are_no_database_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file.db").write_text("")
    with pytest.raises(UserError, match=r"file\.db: a file; a Milvus Lite database is a folder"):
        Database(str(tmp_path / "file.db"))
    with pytest.raises(UserError, match="needs start with"):
        Database(str(tmp_path / "milvus"))


def test_a_server_that_does_not_answer_is_named_without_its_password() -> None:
    with pytest.raises(UserError, match=r"http://127\.0\.0\.1:1: no answer from Milvus") as caught:
        Database("http://user:secret@127.0.0.1:1")
    assert "secret" not in str(caught.value)


def test_the_environment_names_the_place(monkeypatch: pytest.MonkeyPatch) -> None:
    assert address() == "data/milvus.db"
    assert address("other.db") == "other.db"
    monkeypatch.setenv("MILVUS_URI", "http://milvus:19530")
    assert address("other.db") == "http://milvus:19530"


@pytest.mark.parametrize(
    ("uri", "text"),
    [
        ("data/milvus.db", "data/milvus.db"),
        ("https://me:secret@host:19530/db", "https://host:19530/db"),
        ("http://host:1", "http://host:1"),
    ],
)
def test_credentials_are_never_shown(uri: str, text: str) -> None:
    assert shown(uri) == text
