from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.data.manifest import read_manifest, write_manifest
from unbundle.base.errors import UserError

FIELDS = st.text(st.characters(exclude_categories=["Cs"]))
SIDES = st.integers(0, 2**31 - 1)
ROWS = st.fixed_dictionaries(
    {
        "id": FIELDS,
        "image": FIELDS,
        "caption": FIELDS,
        "labels": st.lists(FIELDS),
        "split": st.sampled_from(["train", "gallery", "dev", "test"]),
        "kind": st.sampled_from(["single", "multi", ""]),
        "boxes": st.none() | st.lists(st.lists(SIDES, min_size=4, max_size=4)),
        "width": SIDES,
        "height": SIDES,
        "price": FIELDS,
    }
)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("manifest") / "data/manifest.parquet"


@given(st.lists(ROWS, min_size=1, max_size=5))
def test_what_is_written_is_read_back(path: Path, rows: list[dict[str, object]]) -> None:
    write_manifest(path, pd.DataFrame(rows).astype({"boxes": "object"}))
    assert read_manifest(path).to_dict("records") == rows


def test_rows_and_columns_keep_their_order(path: Path) -> None:
    row = {"id": "b", "image": "", "caption": "", "labels": [], "split": "train", "kind": ""}
    row |= {"boxes": None, "width": 1, "height": 2}
    rows = pd.DataFrame([row | {"brand": "x"}, row | {"id": "a", "brand": "y"}], index=[9, 4])
    write_manifest(path, rows[[*reversed(rows.columns)]])
    manifest = read_manifest(path)
    assert manifest["id"].tolist() == ["b", "a"]
    assert [*manifest.columns] == [*row, "brand"]
    assert [*manifest.index] == [0, 1]


def test_equal_rows_make_equal_files(path: Path, tmp_path: Path) -> None:
    write_manifest(tmp_path / "again.parquet", read_manifest(path))
    assert (tmp_path / "again.parquet").read_bytes() == path.read_bytes()


def test_a_missing_manifest_says_which_stage_writes_it(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="run the stage validate first"):
        read_manifest(tmp_path / "manifest.parquet")
