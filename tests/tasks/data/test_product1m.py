import csv
import re
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.base.params import Catalogue, Params
from tasks.data.product1m import (
    Annotation,
    annotation_file,
    parse_annotation,
    read_annotations,
    write_product1m,
)
from tests.support.catalogue_folder import write_photo
from unbundle.base.errors import UserError

IDS = st.from_regex(r"[A-Za-z0-9_.:-]{1,64}", fullmatch=True)
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="#\r\n"))
ANNOTATIONS = st.builds(
    Annotation, IDS, TEXTS, TEXTS, TEXTS, st.lists(TEXTS.filter(bool)).map(tuple)
)


def line(item: Annotation) -> str:
    return "#####".join([item.id, item.caption, item.url, item.mirror, "#;#".join(item.labels)])


def write(folder: Path, split: str, *lines: str) -> Path:
    path = annotation_file(folder, split)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes("".join(f"{line}\r\n" for line in lines).encode())
    return path


@given(ANNOTATIONS)
def test_lines_are_read_back(item: Annotation) -> None:
    assert parse_annotation(line(item)) == item


@given(st.text(st.sampled_from("a#;1 "), max_size=40))
def test_any_line_is_read_whole_or_refused(text: str) -> None:
    try:
        item = parse_annotation(text)
    except ValueError as error:
        assert "\n" not in str(error)
    else:
        assert text in (line(item), line(item).removesuffix("#####"))


def test_a_training_line_has_no_labels() -> None:
    assert parse_annotation("7#####面霜#####http://a/7.jpg#####http://b/7.jpg").labels == ()


def test_a_title_may_hold_what_python_takes_for_a_line_end(tmp_path: Path) -> None:
    path = write(
        tmp_path, "dev", "1#####水\u2028乳#####u#####m#####甲", "2#####霜#####u#####m#####乙"
    )
    assert [item.caption for item in read_annotations(path)] == ["水\u2028乳", "霜"]


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ("2#####title#####u", "expected id, title, two addresses and labels joined by #####"),
        ("2#####a#####b#####c#####d#####e", "found 6 fields"),
        ("", "found 1 fields"),
        ("a/b#####title#####u#####m#####l", "expected an id of at most 64 letters"),
        ("2#####title#####u#####m#####甲#;#", "a label is empty"),
    ],
)
def test_a_broken_line_is_named(tmp_path: Path, broken: str, said: str) -> None:
    path = write(tmp_path, "test", "1#####title#####u#####m#####l", broken)
    with pytest.raises(UserError, match=re.escape(f"{path}:2: ")) as caught:
        read_annotations(path)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_published_files_are_read_to_the_last_row(datasets: Path) -> None:
    folder = datasets / "product1m-annotations"
    dev = read_annotations(annotation_file(folder, "dev"))
    test = read_annotations(annotation_file(folder, "test"))
    assert (len(dev), len(test)) == (2673, 6547)
    assert len({item.id for item in dev + test}) == 9220
    assert all(item.mirror.endswith(f"/{item.id}.jpg") for item in dev + test)
    assert all(label == label.strip() for item in dev + test for label in item.labels)
    assert Counter(len(item.labels) for item in dev) == {
        1: 53, 2: 1213, 3: 926, 4: 304, 5: 151, 7: 26
    }  # fmt: skip
    repeats = [item for item in test if len(set(item.labels)) < len(item.labels)]
    assert round(len(repeats) / len(test), 3) == 0.165
    for split, items in (("dev", dev), ("test", test)):
        published = annotation_file(folder, split).read_bytes().decode()
        assert "".join(f"{line(item)}\r\n" for item in items) == published


@pytest.fixture
def source(tmp_path: Path, tiny_params: Params) -> Catalogue:
    folder, images = tmp_path / "annotations", tmp_path / "photos"
    write(folder, "train", "1#####甲乙#####u1#####m1", "3#####丙#####u3#####m3")
    write(folder, "gallery", "2#####甲#####u2#####m2#####a")
    write(folder, "dev", "3#####丙丙#####u3#####m3#####a#;#a")
    write(folder, "test", "3#####丙丙#####u3#####m3#####a#;#a", "4#####丁#####u4#####m4#####a")
    for number in (1, 2, 3):
        write_photo(images / f"{number}.jpg", number)
    update = {"source": "product1m", "path": folder, "images": images}
    return tiny_params.catalogue.model_copy(update=update)


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "catalogue.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_annotations_become_a_catalogue(tmp_path: Path, source: Catalogue) -> None:
    target = tmp_path / "catalogue"
    target.mkdir()
    write_product1m(target, source, tmp_path / "downloads")
    table = [(row["id"], row["split"], row["kind"], row["labels"]) for row in rows(target)]
    assert table == [
        ("2", "gallery", "single", "a"),
        ("3", "dev", "multi", "a#;#a"),  # also in test and train: nothing fitted on dev saw test
        ("4", "test", "single", "a"),
        ("1", "train", "", ""),
    ]
    assert [row["url"] for row in rows(target)] == ["u2", "u3", "u4", "u1"]
    # The missing image of 4 is left to validation.
    assert sorted(path.name for path in (target / "images").iterdir()) == [
        "1.jpg", "2.jpg", "3.jpg"
    ]  # fmt: skip
    assert (target / "images/1.jpg").read_bytes() == (tmp_path / "photos/1.jpg").read_bytes()


def test_a_folder_without_annotation_files_is_named(tmp_path: Path, source: Catalogue) -> None:
    empty = source.model_copy(update={"path": tmp_path / "photos"})
    with pytest.raises(UserError, match=r"photos: no annotation file; expected product1m_train_"):
        write_product1m(tmp_path, empty, tmp_path / "downloads")


def test_a_missing_image_folder_is_named(tmp_path: Path, source: Catalogue) -> None:
    wrong = source.model_copy(update={"images": tmp_path / "nowhere"})
    with pytest.raises(UserError, match=r"nowhere: no such folder; correct catalogue\.images"):
        write_product1m(tmp_path, wrong, tmp_path / "downloads")
