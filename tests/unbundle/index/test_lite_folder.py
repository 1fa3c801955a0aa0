"""A damaged folder of Milvus Lite: told in one line, and left as it is by whatever reads."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks.base.workspace import Workspace
from tasks.ingest import ingest
from tests.support.evaluated_catalogue import tiny_params
from tests.support.served_catalogue import copied
from unbundle.base.errors import UserError
from unbundle.cli import main
from unbundle.index.lite_folder import damage
from unbundle.index.milvus_database import Database

READING = (["status"], ["doctor"], ["query", "--title", "red cream"])
VITAL = ("aliases.json", "schema.json", "manifest.json", ".parquet")


@contextmanager
def copy(served: Workspace) -> Iterator[Workspace]:
    with TemporaryDirectory() as folder:
        yield copied(served, Path(folder) / "world")


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "LOCK"
    }


def said(capsys: pytest.CaptureFixture[str], world: Workspace, command: list[str]) -> str:
    """What a command prints; it ends by itself, without a traceback."""
    places = ["--uri", str(world.milvus), "--bundle", str(world.bundles)]
    with pytest.raises(SystemExit):
        main([*command, *places])
    told = capsys.readouterr()
    return told.out + told.err


def test_a_folder_that_fits_together_is_opened(served: Workspace) -> None:
    assert damage(served.milvus) is None


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_reading_commands_leave_a_damaged_folder_as_it_is(
    served: Workspace, capsys: pytest.CaptureFixture[str], data: st.DataObject
) -> None:
    with copy(served) as world:
        name = data.draw(st.sampled_from(sorted(files(world.milvus))))
        path = world.milvus / name
        kept = data.draw(st.floats(0, 0.95) | st.none())
        content = path.read_bytes()
        if kept is None:
            path.unlink()
        else:
            path.write_bytes(content[: int(kept * len(content))])
        before = files(world.milvus)
        told = [said(capsys, world, command) for command in READING]
        after = files(world.milvus)
        assert {name: after.get(name) for name in before} == before
        assert not any("Traceback" in text for text in told)
        # Without its aliases a folder is sound, and nothing is promoted.
        if name.endswith(VITAL) and not (name == "aliases.json" and kept is None):
            assert all(path.name in text for text in told)
            assert "restore" in told[1]


def test_an_older_manifest_is_noticed_by_its_rows(
    served: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    """As Lite falls back to it: whole, and of fewer rows."""
    with copy(served) as world:
        (manifest,) = world.milvus.glob("collections/*/manifest.json")
        shutil.copy(manifest.with_suffix(".json.prev"), manifest)
        text = said(capsys, world, ["doctor"])
        assert "has 0 of the 12 rows that were ingested; run `dvc repro ingest`" in text
        assert "has 0 of the 12 rows" in said(capsys, world, ["query", "--title", "red"])
        ingest(world, tiny_params(world.root))
        assert "12 rows" in said(capsys, world, ["doctor"])
        with Database(str(world.milvus)) as database:
            database.gallery().check_rows()


def test_what_an_interrupted_drop_left_keeps_nobody_from_serving(served: Workspace) -> None:
    with copy(served) as world:
        left = world.milvus / "collections/products_000000000000/partitions/_default/data"
        left.mkdir(parents=True)
        (left / "data_000001_000012.parquet").write_bytes(b"PAR1")
        assert damage(world.milvus) is None
        with Database(str(world.milvus)) as database:
            database.gallery().check_rows()


def test_an_open_folder_is_told_as_open(served: Workspace) -> None:
    with copy(served) as world, Database(str(world.milvus)):
        next(world.milvus.glob("collections/*/manifest.json")).write_text("{")
        with Database(str(world.milvus)):
            pass
    with copy(served) as world:
        next(world.milvus.glob("collections/*/manifest.json")).write_text("{")
        with pytest.raises(UserError, match="cut off, or no JSON; Milvus Lite would delete rows"):
            Database(str(world.milvus))
