from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.metrics.rankings_file import read_rankings, write_rankings
from unbundle.base.errors import UserError

IDS = st.text("abc_.:-0123", min_size=1, max_size=8)


# Files are written: how long that takes says nothing.
@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(IDS, st.lists(IDS, max_size=5)), min_size=1, max_size=5))
def test_what_is_written_is_read_again(
    tmp_path_factory: pytest.TempPathFactory, rankings: list[tuple[str, list[str]]]
) -> None:
    path = tmp_path_factory.mktemp("rankings") / "retrieval_id_list.txt"
    write_rankings(path, rankings)
    assert read_rankings(path) == rankings


def test_lines_are_split_as_the_published_script_does(tmp_path: Path) -> None:
    path = tmp_path / "retrieval_id_list.txt"
    path.write_bytes("623,1,2 \r\n\n面霜,3,\n".encode())
    assert read_rankings(path) == [("623", ["1", "2"]), ("", []), ("面霜", ["3", ""])]


@pytest.mark.parametrize("name", ["a,b", "a\nb"])
def test_an_id_that_the_format_cannot_hold_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "retrieval_id_list.txt"
    with pytest.raises(UserError, match="holds a comma or a line break; rename it"):
        write_rankings(path, [("q", ["fine", name])])
    assert not path.exists()


def test_a_missing_an_empty_and_a_binary_file_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "retrieval_id_list.txt"
    with pytest.raises(UserError, match="no such file"):
        read_rankings(path)
    path.write_bytes(b"")
    with pytest.raises(UserError, match="no rankings"):
        read_rankings(path)
    path.write_bytes(b"q,\xff")
    with pytest.raises(UserError, match="byte 2 is not UTF-8"):
        read_rankings(path)
