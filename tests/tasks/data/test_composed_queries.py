from pathlib import Path

import pandas as pd

from tasks.base.workspace import Workspace
from tasks.data.composed_queries import (
    JUNK,
    PREFIX,
    are_composed,
    lacks_queries,
    read_rows,
    without_junk,
    write_composed,
)
from tasks.data.manifest import read_manifest, write_manifest


def row(name: str, split: str, labels: list[str], **other: object) -> dict[str, object]:
    facts = {"image": f"{name}.png", "caption": "", "kind": "single", "boxes": None}
    return {"id": name, "split": split, "labels": labels, "width": 9, "height": 9, **facts, **other}


def test_composed_rows_follow_those_of_the_manifest(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    write_manifest(workspace.manifest, pd.DataFrame([row("g1", "gallery", ["soap"], price="3")]))
    workspace.composed.mkdir(parents=True)
    made = row(f"{PREFIX}dev-00000", "dev", ["soap"], boxes=[[0, 0, 4, 5]], junk=["g1"])
    write_composed(workspace.composed, [made])
    rows = read_rows(workspace)
    assert rows["id"].tolist() == ["g1", f"{PREFIX}dev-00000"]
    assert rows[JUNK].tolist() == [[], ["g1"]]
    assert rows["boxes"].tolist() == [None, [[0, 0, 4, 5]]]
    assert rows["price"].tolist() == ["3", ""]
    assert lacks_queries(read_manifest(workspace.manifest))
    assert are_composed(rows[rows["split"] == "dev"])


def test_without_composed_queries_there_is_the_manifest(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    write_manifest(workspace.manifest, pd.DataFrame([row("q1", "dev", ["soap"])]))
    for _ in range(2):
        rows = read_rows(workspace)
        assert rows["id"].tolist() == ["q1"]
        assert rows[JUNK].tolist() == [[]]
        assert not are_composed(rows)
        workspace.composed.mkdir(parents=True, exist_ok=True)
        write_composed(workspace.composed, [])
    assert not lacks_queries(rows)


def test_junk_leaves_a_ranking_and_the_others_keep_their_order() -> None:
    assert without_junk(["a", "b", "c", "d"], ["c", "a", "x"]) == ["b", "d"]
