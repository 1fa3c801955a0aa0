import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.support.tiny_model_bundle import LEXICAL, read_settings, write_bundle, write_settings
from unbundle.base.errors import UserError
from unbundle.encoding.model_bundle import Bundle, BundleContent, bundle_folders
from unbundle.ranking.embedding_parts import PARTS


@pytest.fixture
def folder(tiny_bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_bundle, tmp_path / "bundle"))


BACKBONE = {"name": "b", "side": 8, "mean": [0] * 3, "std": [1] * 3, "grid": 1, "dimension": 4}


def change(folder: Path, **changes: Any) -> None:
    write_settings(folder, read_settings(folder) | changes)


def test_a_bundle_opens_with_typed_settings(tiny_bundle: Path) -> None:
    bundle = Bundle.open(tiny_bundle)
    assert bundle.embedding.parts == PARTS
    assert bundle.dimension == 36 + LEXICAL
    assert bundle.folder == tiny_bundle


def test_what_is_written_is_what_was_opened_and_equal_content_has_an_equal_version(
    folder: Path,
) -> None:
    settings = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))
    bundle = Bundle.open(folder)
    BundleContent.model_validate(dict(reversed(settings.items()))).write(folder)
    again = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))
    defaults = {"precision": {"detector": "fp32", "backbone": "fp32"}, "merging": None}
    settings["embedding"]["fitted_on"] = None
    for model in settings["known"].values():
        model.setdefault("trees", [])
    assert again == settings | defaults | {"version": again["version"]}
    reopened = Bundle.open(folder)
    assert reopened.model_copy(update={"version": bundle.version}) == bundle
    reopened.write(folder)
    assert Bundle.open(folder).version == again["version"]
    reopened.model_copy(update={"fusion": {"score": 1.0, "gap": 0.0, "rank": 0.0}}).write(folder)
    assert Bundle.open(folder).version != again["version"]


def test_networks_are_fp32_where_the_bundle_names_no_precision(folder: Path) -> None:
    assert set(Bundle.open(folder).precision.model_dump().values()) == {"fp32"}


def test_keys_of_a_newer_exporter_are_ignored(folder: Path) -> None:
    change(folder, fp8={"backbone": "backbone.fp8.onnx"})
    assert Bundle.open(folder).version == Bundle.open(folder).version


@pytest.mark.parametrize(
    "name",
    ["detector.onnx", "backbone.onnx", "capture.onnx", "tokenizer.json", "idf.npy", "axes.npy"],
)
def test_a_changed_or_missing_file_is_named(folder: Path, name: str) -> None:
    with (folder / name).open("ab") as file:
        file.write(b"\n")
    with pytest.raises(UserError, match=f"{name}: sha256 .* differs from bundle.json"):
        Bundle.open(folder)
    (folder / name).unlink()
    with pytest.raises(UserError, match=f"{name}: no such file"):
        Bundle.open(folder)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"format": 3}, "format 3, this version of unbundle reads 5; run `dvc repro`"),
        ({"detector": {}}, r"detector\.side"),
        (
            {"backbone": BACKBONE | {"features": 4}},
            "features: expected less than dimension, found 4",
        ),
        ({"precision": {"backbone": "int4"}}, r"precision\.backbone: .*'fp32' or 'int8'"),
        (
            {"capture": {"title_tokens": 8, "regions": 4, "dimension": 9}},
            "embedding.dimensions: the networks give",
        ),
        ({"embedding": {"parts": ["raw"], "dimensions": [1], "weights": {}}}, "expected raw, col"),
    ],
)
def test_a_wrong_key_is_named(folder: Path, changes: dict[str, Any], line: str) -> None:
    change(folder, **changes)
    with pytest.raises(UserError, match=rf"bundle\.json: .*{line}"):
        Bundle.open(folder)


def test_a_version_that_is_no_digest_is_named(folder: Path) -> None:
    settings = read_settings(folder) | {"version": "../../etc"}
    (folder / "bundle.json").write_text(json.dumps(settings), encoding="utf-8")
    with pytest.raises(UserError, match=r"bundle\.json: version: "):
        Bundle.open(folder)


@pytest.mark.parametrize("place", ["threshold", "weight", "size", "version"])
def test_settings_that_were_changed_by_hand_are_refused(folder: Path, place: str) -> None:
    settings = read_settings(folder)
    if place == "threshold":
        settings["detector"]["min_score"] = 0.41
    elif place == "weight":
        settings["embedding"]["weights"]["title"]["text"] = 0.9
    elif place == "size":
        settings["backbone"]["name"] = "another"
    else:
        settings["version"] = "0123456789ab"
    (folder / "bundle.json").write_text(json.dumps(settings), encoding="utf-8")
    with pytest.raises(UserError, match=r"bundle\.json: not what was exported as [0-9a-f]{12}"):
        Bundle.open(folder)


def test_weights_must_cover_every_term_and_modality(folder: Path) -> None:
    embedding = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))["embedding"]
    del embedding["weights"]["photo"]
    change(folder, embedding=embedding)
    with pytest.raises(UserError, match=r"weights\.photo: expected raw, colour"):
        Bundle.open(folder)


@pytest.mark.parametrize("content", [b"", b"[1]", b"\xff\xfe", b"{"])
def test_settings_that_are_no_json_object_are_refused(folder: Path, content: bytes) -> None:
    (folder / "bundle.json").write_bytes(content)
    with pytest.raises(UserError, match="not a JSON object"):
        Bundle.open(folder)


def test_a_folder_without_a_bundle_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no bundle .* run `make demo`"):
        Bundle.open(tmp_path)


def test_bundles_are_found_alone_and_by_version(tmp_path: Path, tiny_bundle: Path) -> None:
    first, second = write_bundle(tmp_path / "b"), write_bundle(tmp_path / "a")
    (tmp_path / "notes").mkdir()
    assert bundle_folders(tmp_path) == [second, first]
    assert bundle_folders(tiny_bundle) == [tiny_bundle]
    assert bundle_folders(tmp_path / "notes") == []
