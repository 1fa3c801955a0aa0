"""Rankings files scored on annotation files in Product1M's format, small ones and the real ones."""

import json
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tasks.base.params import Params
from tasks.evaluation.score_rankings_file import Protocol, Split, score_file
from tests.support.evaluated_catalogue import PROJECT
from unbundle.base.errors import UserError

GALLERY = {"g1": ["jar", "also"], "g2": ["jar"], "g3": ["tube"], "g4": ["stick"]}
TEST = {"t1": ["jar"], "t2": ["tube", "tube", "stick"]}
DEV = {"d1": ["stick"]}


def write_annotations(folder: Path, **splits: Mapping[str, Sequence[str]]) -> Path:
    for split, rows in splits.items():
        lines = [
            f"{name}#####title#####https://a/{name}.jpg#####https://b/{name}.jpg#####"
            f"{'#;#'.join(labels)}\r\n"
            for name, labels in rows.items()
        ]
        path = folder / f"product1m_{split}_ossurl_v2.txt"
        path.write_bytes("".join(lines).encode())
    return folder


@pytest.fixture
def annotations(tmp_path: Path) -> Path:
    return write_annotations(tmp_path, gallery=GALLERY, test=TEST, dev=DEV)


def scored(
    annotations: Path,
    tiny_params: Params,
    lines: str,
    protocol: Protocol = "official",
    split: Split = "test",
) -> dict[str, Any]:
    rankings = annotations / "retrieval_id_list.txt"
    rankings.write_text(lines, encoding="utf-8")
    return score_file(rankings, annotations, protocol, split, tiny_params)


def test_the_official_figures_have_the_published_keys(
    annotations: Path, tiny_params: Params
) -> None:
    result = scored(annotations, tiny_params, "t1,g1,g3\nt2,g3,g1,g4\n")
    assert list(result["official"]) == ["top10", "top50", "top100"]
    # t1: K' = 2, one hit first. t2: K' = min(10, 1 + 1 + 1, 3) = 3, hits at 1 and 3.
    assert result["official"]["top10"] == pytest.approx(
        {"mAP": (1 + (1 + 2 / 3) / 2) / 2, "Prec": (1 / 2 + 2 / 3) / 2, "mAR": (1 / 2 + 1) / 2},
        rel=0,
        abs=1e-12,
    )


def test_only_the_first_label_of_a_gallery_item_counts(
    annotations: Path, tiny_params: Params
) -> None:
    write_annotations(annotations, test={"t1": ["also"]})
    result = scored(annotations, tiny_params, "t1,g1\n")
    assert result["failures"]["top10"] == [
        {"query": "t1", "reason": "label 'also' is not in the gallery"}
    ]


def test_the_figures_say_which_queries_they_cover(annotations: Path, tiny_params: Params) -> None:
    lines = "t1,g1\nd1,g4\n"
    result = scored(annotations, tiny_params, lines)
    assert result["queries"] == {
        "covers": "the mean over 1 lines of the rankings file, split test",
        "split": "test",
        "annotated": 2,
        "ranked": 1,
        "left_out_of_the_other_split": 1,
        "with_a_repeated_label": 1,
        "in_both_dev_and_test": 0,
        "gallery_items": 4,
    }
    assert scored(annotations, tiny_params, lines, split="dev")["official"]["top10"]["mAP"] == 1
    assert scored(annotations, tiny_params, lines, split="all")["queries"]["ranked"] == 2


def test_a_query_that_no_file_annotates_still_counts(
    annotations: Path, tiny_params: Params
) -> None:
    result = scored(annotations, tiny_params, "t1,g1,g2\nnobody,g1\n")
    assert result["official"]["top50"]["mAP"] == 1 / 2
    assert [failure["query"] for failure in result["failures"]["top50"]] == ["nobody"]


def test_the_corrected_protocol_counts_queries_without_a_line(
    annotations: Path, tiny_params: Params
) -> None:
    result = scored(annotations, tiny_params, "t1,g1,g3,g2\n", protocol="corrected")
    figures = result["corrected"]["top10"]
    assert figures["mAP"]["mean"] == pytest.approx((1 + 2 / 3) / 2 / 2, abs=1e-6)
    assert figures["coverage"]["mean"] == 1 / 2
    assert figures["mAP"]["low"] <= figures["mAP"]["mean"] <= figures["mAP"]["high"]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("t1,g1\nnobody,g1\n", "query 'nobody' is not annotated"),
        ("t1,g1\nt1,g2\n", "query t1 comes twice"),
        ("t1,g1,g2,g1\n", "query t1: its ranking holds g1 twice"),
        ("d1,g4\n", "no query of split test"),
    ],
)
def test_the_corrected_protocol_refuses_what_cannot_be_scored(
    annotations: Path, tiny_params: Params, lines: str, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        scored(annotations, tiny_params, lines, protocol="corrected")


def test_missing_files_and_labels_are_named(annotations: Path, tiny_params: Params) -> None:
    write_annotations(annotations, gallery=GALLERY | {"g5": []})
    with pytest.raises(UserError, match=r"product1m_gallery_ossurl_v2\.txt: id g5: no label"):
        scored(annotations, tiny_params, "t1,g1\n")
    (annotations / "product1m_gallery_ossurl_v2.txt").unlink()
    with pytest.raises(UserError, match="give --annotations its folder"):
        scored(annotations, tiny_params, "t1,g1\n")


def test_dev_is_needed_only_where_it_is_asked_for(annotations: Path, tiny_params: Params) -> None:
    (annotations / "product1m_dev_ossurl_v2.txt").unlink()
    assert scored(annotations, tiny_params, "t1,g1\n")["queries"]["annotated"] == 2
    with pytest.raises(UserError, match=r"product1m_dev_ossurl_v2\.txt: no such file"):
        scored(annotations, tiny_params, "t1,g1\n", split="all")


def test_the_command_prints_and_writes_json(annotations: Path) -> None:
    (annotations / "retrieval_id_list.txt").write_text("t1,g1,g2\nt2,g3,g4\n")
    done = evaluate_command(annotations, "--protocol", "official", "--out", "scores/result.json")
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout)
    assert printed == json.loads((annotations / "scores/result.json").read_text(encoding="utf-8"))
    assert printed["official"]["top100"] == {"mAP": 1.0, "Prec": 1.0, "mAR": 1.0}


def evaluate_command(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    shutil.copy(PROJECT / "params.yaml", folder)
    arguments = ["--rankings", "retrieval_id_list.txt", "--annotations", ".", *options]
    command = [sys.executable, "-m", "tasks.evaluate", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)


def test_the_published_annotations_are_scored_whole(
    datasets: Path, tmp_path: Path, tiny_params: Params
) -> None:
    for split in ("dev", "test"):
        shutil.copy(datasets / f"product1m-annotations/product1m_{split}_ossurl_v2.txt", tmp_path)
    queries = {
        fields[0]: fields[4].split("#;#")
        for line in (tmp_path / "product1m_test_ossurl_v2.txt").read_text("utf-8").splitlines()
        if (fields := line.strip().split("#####"))
    }
    labels = sorted({label for row in queries.values() for label in row})
    # Two photos of every product: the gallery itself is not published here.
    gallery = {f"g{place}-{view}": [label] for place, label in enumerate(labels) for view in (0, 1)}
    write_annotations(tmp_path, gallery=gallery)
    place_of = {label: place for place, label in enumerate(labels)}
    perfect = "".join(
        ",".join(
            [
                query,
                *(f"g{place_of[label]}-{view}" for label in dict.fromkeys(row) for view in (0, 1)),
            ]
        )
        + "\n"
        for query, row in queries.items()
    )
    result = scored(tmp_path, tiny_params, perfect)
    assert result["queries"]["annotated"] == result["queries"]["ranked"] == 6547
    assert result["queries"]["with_a_repeated_label"] == 1079
    assert result["queries"]["in_both_dev_and_test"] == 0
    assert result["official"]["top10"]["mAP"] == pytest.approx(1, abs=1e-12)
    assert result["official"]["top50"]["mAR"] == pytest.approx(1, abs=1e-12)
    # Only a set of twelve labels expects none of each at K = 10, and stops half-way.
    assert [len(failures) for failures in result["failures"].values()] == [
        Counter(len(row) > 10 for row in queries.values())[True],
        0,
        0,
    ]
    quick = tiny_params.model_copy(
        update={"evaluate": tiny_params.evaluate.model_copy(update={"resamples": 20})}
    )
    figures = scored(tmp_path, quick, perfect, protocol="corrected")["corrected"]
    assert figures["top100"]["mAP"]["mean"] == figures["top100"]["coverage"]["mean"] == 1
