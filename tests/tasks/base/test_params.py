from pathlib import Path
from typing import Any

import pytest
import yaml

from tasks.base.params import Params, load_params
from unbundle.base.errors import UserError

ROOT = Path(__file__).parents[3]


@pytest.fixture
def raw() -> dict[str, Any]:
    return dict(yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8")))


def load(folder: Path, raw: Any) -> Params:
    path = folder / "params.yaml"
    path.write_text(yaml.safe_dump(raw), encoding="utf-8")
    return load_params(path)


def message(folder: Path, raw: Any) -> str:
    with pytest.raises(UserError) as caught:
        load(folder, raw)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("scale", ["tiny", "demo", "full"])
def test_the_project_has_values_for_every_scale(
    tmp_path: Path, raw: dict[str, Any], scale: str
) -> None:
    params = load(tmp_path, raw | {"scale": scale})
    assert params.scale == scale
    assert params.catalogue.demo.products == raw["catalogue"]["demo"]["products"][scale]


def test_plain_values_hold_at_every_scale(tmp_path: Path, raw: dict[str, Any]) -> None:
    raw["catalogue"]["demo"]["products"] = 99
    assert load(tmp_path, raw | {"scale": "tiny"}).catalogue.demo.products == 99
    assert load(tmp_path, raw | {"scale": "full"}).catalogue.demo.products == 99


def test_an_unknown_key_is_named_by_its_path(tmp_path: Path, raw: dict[str, Any]) -> None:
    raw["catalogue"]["demo"]["product"] = raw["catalogue"]["demo"].pop("products")
    assert "catalogue.demo.product: unknown key" in message(tmp_path, raw)


def test_a_missing_key_is_named_by_its_path(tmp_path: Path, raw: dict[str, Any]) -> None:
    del raw["validate"]["min_side"]
    assert "validate.min_side: missing" in message(tmp_path, raw)


def test_a_value_out_of_range_is_shown(tmp_path: Path, raw: dict[str, Any]) -> None:
    raw["validate"]["max_bad_fraction"] = 2
    assert "validate.max_bad_fraction" in (said := message(tmp_path, raw))
    assert said.endswith("found 2")


def test_a_value_that_lacks_the_scale_is_refused(tmp_path: Path, raw: dict[str, Any]) -> None:
    raw["catalogue"]["demo"]["products"] = {"tiny": 24, "full": 400}
    assert "catalogue.demo.products: no value for scale demo" in message(
        tmp_path, raw | {"scale": "demo"}
    )


def test_an_unknown_scale_is_refused(tmp_path: Path, raw: dict[str, Any]) -> None:
    assert "scale: expected one of tiny, demo, full" in message(tmp_path, raw | {"scale": "huge"})


def test_text_that_is_not_yaml_is_refused_by_line(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text("scale: demo\nseed: [7\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"params\.yaml:3: not YAML"):
        load_params(path)


def test_sections_are_needed(tmp_path: Path) -> None:
    assert "expected sections of keys, found list" in message(tmp_path, ["scale"])


def test_a_missing_file_says_where_to_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file; run this in the project's folder"):
        load_params(tmp_path / "params.yaml")


def test_values_cannot_be_changed(tiny_params: Params) -> None:
    with pytest.raises(ValueError, match="frozen"):
        tiny_params.seed = 8  # type: ignore[misc]


def test_an_unknown_precision_is_refused(tmp_path: Path, raw: dict[str, Any]) -> None:
    raw["export"]["precision"]["backbone"] = "int4"
    assert "export.precision.backbone" in (said := message(tmp_path, raw))
    assert said.endswith("found 'int4'")
