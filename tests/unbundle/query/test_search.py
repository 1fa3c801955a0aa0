import io
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tasks.base.workspace import Workspace
from tests.support.served_catalogue import close
from tests.support.tiny_model_bundle import BLANK, scene, write_bundle, write_photo
from unbundle import Answer, Hit, Instance, ProductSearch, Question, UserError
from unbundle.encoding.encoded_query import EncodedQuery, Word
from unbundle.encoding.query_observer import Observer, SpanName
from unbundle.query.search import own_words
from unbundle.ranking.fusion import interleave


@pytest.fixture(scope="module")
def search(served: Workspace) -> Iterator[ProductSearch]:
    with ProductSearch(served.bundles, str(served.milvus), threads=1) as opened:
        yield opened


def products(answer: Answer) -> list[str]:
    """The best product of each box, boxes from top left to bottom right."""
    seen = sorted(answer.instances, key=lambda seen: (seen.box or ())[1::-1])
    return [instance.hits[0].label for instance in seen]


def test_a_bundle_photo_is_answered_box_by_box(search: ProductSearch) -> None:
    answer = search(scene([3, 1, 5]))
    assert products(answer) == ["product-3", "product-1", "product-5"]
    assert [instance.score for instance in answer.instances] == sorted(
        (instance.score for instance in answer.instances), reverse=True
    )
    boxes = {instance.box for instance in answer.instances}
    assert boxes == {(2.0, 2.0, 30.0, 30.0), (34.0, 2.0, 62.0, 30.0), (2.0, 34.0, 30.0, 62.0)}


def test_each_product_comes_once_and_best_first(search: ProductSearch) -> None:
    for instance in search(scene([0, 4]), "red").instances:
        labels = [hit.label for hit in instance.hits]
        scores = [hit.score for hit in instance.hits]
        assert len(labels) == len(set(labels)) == 6
        assert scores == sorted(scores, reverse=True)
    assert all(len(instance.hits) == 2 for instance in search(scene([0, 4]), k=2).instances)


def test_a_word_that_another_box_product_is_named_by_is_not_shown() -> None:
    """However sure the alignment is; what no product is named by, and a shared brand, stay."""

    def hit(label: str, caption: str) -> Hit:
        return Hit(label, label, 1.0, caption, "")

    words = [
        Word(text, np.asarray(belongs, np.float32))
        for text, belongs in (
            ("AHC", [0.9, 0.9, 0.1]),
            ("Crème", [0.9, 0.8, 0.2]),
            ("霜", [0.6, 0.7, 0.6]),
            ("cherry", [0.9, 0.1, 0.9]),
            ("gift", [0.7, 0.2, 0.1]),
        )
    ]
    best = [hit("AHC creme", "AHC night creme"), hit("AHC 面霜", "ahc 面霜 50ml"), None]
    assert own_words(words, best) == [
        ("AHC", "Crème", "cherry", "gift"),
        ("AHC", "霜"),
        ("cherry",),
    ]
    assert own_words(words, [None, None, None])[1] == ("AHC", "Crème", "霜")


def test_what_is_left_out_of_a_ranking_is_no_evidence_either(search: ProductSearch) -> None:
    whole = search.rank(scene([2]), "red cream 2", 12)
    first = whole.rankings[0][0]
    without = search.rank(scene([2]), "red cream 2", 12, {first})
    assert first not in without.rankings[0] + without.merged
    assert set(without.rankings[0]) == set(whole.rankings[0]) - {first}
    assert without.searched == whole.searched


def test_paths_bytes_and_pixels_are_the_same_query(search: ProductSearch, tmp_path: Path) -> None:
    path = write_photo(tmp_path / "query.png", scene([2]))
    answers = [search(path), search(str(path)), search(path.read_bytes()), search(scene([2]))]
    assert answers == [answers[0]] * 4


def test_a_title_alone_is_answered_without_a_box(search: ProductSearch) -> None:
    (instance,) = search(caption="red cream 3").instances
    assert instance.box is None
    assert len(instance.hits) == 6


def test_neither_photo_nor_title_is_refused(search: ProductSearch) -> None:
    with pytest.raises(UserError, match="the query is empty: give a photo, a title or both"):
        search()


def test_given_boxes_are_searched(search: ProductSearch) -> None:
    answer = search(scene([3, 1]), boxes=[[33, 1, 63, 31]])
    assert [instance.box for instance in answer.instances] == [(33.0, 1.0, 63.0, 31.0)]
    assert products(answer) == ["product-1"]


def test_filters_hold_for_every_box(search: ProductSearch) -> None:
    answer = search(scene([3, 1]), filters={"brand": "brand-0", "price": {"min": 12}})
    for instance in answer.instances:
        assert {hit.label for hit in instance.hits} == {"product-2", "product-4"}
        assert all(hit.fields["brand"] == "brand-0" for hit in instance.hits)
    nothing = search(scene([3]), filters={"brand": "unknown"})
    assert nothing.instances[0].hits == ()


def test_pages_are_one_list_cut_up(search: ProductSearch) -> None:
    whole = search(scene([3, 1]), "red", k=6)
    pages = [search(scene([3, 1]), "red", k=2, offset=offset) for offset in (0, 2, 4, 6)]
    for row, instance in enumerate(whole.instances):
        cut = [page.instances[row] for page in pages]
        assert sum((part.hits for part in cut), ()) == instance.hits
        assert [len(part.hits) for part in cut] == [2, 2, 2, 0]
        assert {(part.known, part.in_catalogue) for part in cut} == {
            (instance.known, instance.in_catalogue)
        }
    assert {page.parts for page in pages} == {whole.parts}


def test_hits_below_a_score_are_left_out(search: ProductSearch) -> None:
    whole = search(scene([3, 1]), k=6)
    middle = whole.instances[0].hits[2].score
    some = search(scene([3, 1]), k=6, min_score=middle)
    for all_of, kept in zip(whole.instances, some.instances, strict=True):
        assert kept.hits == tuple(hit for hit in all_of.hits if hit.score >= middle)
        assert (kept.known, kept.in_catalogue) == (all_of.known, bool(kept.hits))
    nothing = search(scene([3]), min_score=2)
    assert nothing.instances[0].hits == ()
    assert not nothing.instances[0].in_catalogue
    assert nothing.parts is not None
    assert nothing.parts.unknown == (0,)


@pytest.mark.parametrize(
    ("numbers", "line"),
    [
        ({"offset": -1}, "offset -1: expected 0 or more"),
        ({"offset": 16_380}, "offset 16380: expected 0 or more, with k at most 16,384"),
        ({"min_score": float("nan")}, "min_score nan: expected a number"),
    ],
)
def test_numbers_out_of_their_range_are_refused(
    search: ProductSearch, numbers: dict[str, Any], line: str
) -> None:
    with pytest.raises(UserError, match=line):
        search(scene([1]), **numbers)


def test_a_batch_has_the_answers_of_its_queries(
    search: ProductSearch, monkeypatch: pytest.MonkeyPatch
) -> None:
    questions = [
        Question(scene([3, 1])),
        Question(caption="red", k=2, min_score=0.1),
        Question(),
        Question(scene([4]), "serum", filters={"brand": "brand-0"}),
        Question(lambda: scene([5, 2]), offset=1, bundle_price=9),
        Question("nothing.jpg"),
        Question(scene([0]), filters={"shade": "x"}),
        Question(scene([2]), boxes=[[1, 1, 31, 31]], filters={"brand": ["brand-0"]}),
    ]
    calls: list[int] = []
    one = search.gallery.search

    def counting(vectors: np.ndarray, *rest: Any) -> Any:
        calls.append(len(vectors))
        return one(vectors, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(search.gallery, "search", counting)
        answers = search.batch(iter(questions))
    assert sorted(calls[:3], reverse=True) == [5, 1, 1]  # vectors by distinct filter
    for question, answer in zip(questions, answers, strict=True):
        if isinstance(answer, UserError):
            with pytest.raises(UserError, match=re.escape(str(answer))):
                ask(search, question)
        else:
            close(answer.to_dict(), ask(search, question).to_dict())
    assert [isinstance(answer, UserError) for answer in answers] == [
        *(False, False, True, False, False, True, True, False)
    ]


def ask(search: ProductSearch, question: Question) -> Answer:
    return search(**{name: getattr(question, name) for name in question.__dataclass_fields__})


class Log(Observer):
    """What one observer hears, in its order."""

    def __init__(self) -> None:
        self.spans: list[SpanName] = []
        self.queries: list[EncodedQuery] = []
        self.depth = 0

    @contextmanager
    def span(self, name: SpanName) -> Iterator[None]:
        assert not self.depth, "spans overlap"
        self.spans.append(name)
        self.depth += 1
        yield
        self.depth -= 1

    def encoded(self, query: EncodedQuery) -> None:
        self.queries.append(query)


ENCODING: list[SpanName] = ["decode", "detector", "backbone", "capture", "verify"]
ANSWERING: list[SpanName] = ["verify", "known"]


def test_an_observer_hears_of_its_query_alone_while_others_are_answered(
    search: ProductSearch,
) -> None:
    photos = [scene([number % 6, (number + 1) % 6]) for number in range(12)]

    def ask(photo: np.ndarray) -> Log:
        log = Log()
        search.ask(Question(photo, "red"), log)
        return log

    with ThreadPoolExecutor(6) as pool:
        logs = list(pool.map(ask, photos))
    for photo, log in zip(photos, logs, strict=True):
        assert log.spans == [*ENCODING, "search", *ANSWERING]
        (query,) = log.queries
        np.testing.assert_array_equal(query.vectors, search.encoder.encode(photo, "red").vectors)
        assert len(query.keypoints) == len(query.boxes)


def test_an_observer_of_a_batch_hears_of_all_its_queries(search: ProductSearch) -> None:
    log = Log()
    answers = search.batch([Question(scene([3])), Question(), Question(caption="red")], log)
    assert log.spans == [*ENCODING, "decode", "decode", "capture", "search", *ANSWERING * 2]
    assert [query.modality for query in log.queries] == ["photo", "title"]
    assert isinstance(answers[1], UserError)


def test_what_is_observed_is_answered_alike(search: ProductSearch) -> None:
    question = Question(scene([3, 1]), "red cream", k=3)
    assert search.ask(question, Log()) == search.ask(question)


@pytest.mark.parametrize("k", [0, -1])
def test_k_must_be_positive(search: ProductSearch, k: int) -> None:
    with pytest.raises(UserError, match="expected 1 or more products"):
        search(scene([1]), k=k)


def test_a_photo_without_products_is_searched_whole(search: ProductSearch) -> None:
    (instance,) = search(BLANK).instances
    assert (instance.box, instance.score) == ((0.0, 0.0, 64.0, 64.0), 0.0)


def test_an_answer_is_json(search: ProductSearch) -> None:
    answer = search(scene([3, 1]), "面霜", k=1)
    values = json.loads(json.dumps(answer.to_dict()))
    assert values["bundle"] == search.encoder.bundle.version
    assert values["collection"] == search.gallery.name
    hit = values["instances"][0]["hits"][0]
    assert set(hit) == {"id", "label", "score", "caption", "image", "fields", "inliers"}
    assert hit["fields"]["price"] in (11.0, 13.0)


def test_the_ranking_for_evaluation_merges_its_instances(search: ProductSearch) -> None:
    ranking = search.rank(scene([3, 1, 5]), "red", depth=7)
    assert len(ranking.encoded.boxes) == len(ranking.rankings) == 3
    assert ranking.merged == interleave(ranking.rankings, 7)
    assert all(len(ids) == 7 for ids in ranking.rankings)
    exact = search.gallery.exact_search(ranking.encoded.vectors, 7)
    assert ranking.searched == [[hit.id for hit in hits] for hits in exact]


def test_plain_pymilvus_gives_the_same_photos(search: ProductSearch, served: Workspace) -> None:
    from pymilvus import MilvusClient

    encoded = search.encoder.encode(scene([3]), "red cream")
    client = MilvusClient(str(served.milvus))
    (hits,) = client.search("products", encoded.vectors, limit=5, output_fields=["label"])
    client.close()
    assert hits[0]["entity"]["label"] == "product-3"
    (ranking,) = search.rank(scene([3]), "red cream", depth=5).searched
    assert [hit["id"] for hit in hits] == ranking


@pytest.mark.parametrize("content", [b"", b"GIF89a", b"not an image"])
def test_a_photo_that_is_none_is_refused(
    search: ProductSearch, tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "photo.jpg").write_bytes(content)
    with pytest.raises(UserError, match=r"photo\.jpg: not a readable image"):
        search(tmp_path / "photo.jpg")
    with pytest.raises(UserError, match="the photo: not a readable image"):
        search(content)


def test_a_truncated_photo_is_refused(search: ProductSearch) -> None:
    file = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(file, "JPEG")
    with pytest.raises(UserError, match="not a readable image"):
        search(file.getvalue()[:900])


def test_one_bundle_and_a_folder_of_them_serve_alike(
    served: Workspace, search: ProductSearch
) -> None:
    with ProductSearch(served.bundle, str(served.milvus)) as other:
        assert other(scene([3])) == search(scene([3]))
        assert other.gallery.name == search.gallery.name  # not the alias, which may move


def test_a_bundle_that_did_not_make_the_collection_is_refused(
    served: Workspace, tmp_path: Path
) -> None:
    other = write_bundle(tmp_path / "other", seed=1)
    with pytest.raises(UserError, match=r"bundle \w{12}, but products_\w{12} was made with \w{12}"):
        ProductSearch(other, str(served.milvus))
    (tmp_path / "many").mkdir()
    shutil.copytree(other, tmp_path / "many" / "abcdefabcdef")
    with pytest.raises(UserError, match=r"many: no bundle \w{12}, which made products_\w{12}"):
        ProductSearch(tmp_path / "many", str(served.milvus))


def test_a_refused_search_lets_go_of_the_database(served: Workspace, tmp_path: Path) -> None:
    from unbundle.index.milvus_database import _open_folders

    before = dict(_open_folders)
    with pytest.raises(UserError):
        ProductSearch(tmp_path, str(served.milvus))
    assert dict(_open_folders) == before


def test_serving_needs_no_training_package() -> None:
    program = (
        "import sys, unbundle.cli, unbundle.query.search\n"
        "import unbundle.terminal.answer_picture, unbundle.terminal.doctor\n"
        "print(*{'torch', 'transformers', 'onnx', 'prefect', 'dvc', 'tasks', 'models'}"
        ".intersection(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == ""


def test_naming_a_mistake_costs_no_import_of_milvus() -> None:
    program = (
        "import sys; from unbundle import UserError; import unbundle.cli\n"
        "print(*{'pymilvus', 'onnxruntime'}.intersection(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == ""


def test_instances_are_values() -> None:
    with pytest.raises(AttributeError):
        Instance(None, 1.0, ()).score = 2.0  # type: ignore[misc]
