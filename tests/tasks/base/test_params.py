import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tasks.base.params import DEPTH, Params, Section, load_params
from tests.tasks.base.parameters_page import PAGE, leaves, page
from unbundle.base.errors import UserError

ROOT = Path(__file__).parents[3]
MOST_PARAMETERS = 190


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


def test_a_ranking_is_as_deep_as_every_metric(tmp_path: Path, raw: dict[str, Any]) -> None:
    assert load(tmp_path, raw).evaluate.depths == (DEPTH, *raw["evaluate"]["ks"])
    raw["evaluate"] |= {"ks": [], "depth": DEPTH - 1}
    assert "evaluate: Value error, depth 9 is less than 10; raise it" in message(tmp_path, raw)


def test_the_page_of_parameters_is_that_of_params_yaml() -> None:
    text = (ROOT / "params.yaml").read_text(encoding="utf-8")
    told = "docs/parameters.md is stale: run python -m tests.tasks.base.parameters_page"
    assert PAGE.read_text(encoding="utf-8") == page(text), told
    assert len(leaves(text)) <= MOST_PARAMETERS


def test_the_page_has_a_row_for_every_value() -> None:
    rows = re.findall(r"(?m)^\| `([\w.]+)` \| (.+?) \| (.+) \|$", PAGE.read_text(encoding="utf-8"))
    assert [path for path, _, _ in rows] == [leaf.path for leaf in leaves_of_params()]
    assert sorted(path for path, _, _ in rows) == sorted(fields(Params))
    shown = {path: values for path, values, _ in rows}
    assert shown["scale"] == "`demo`"
    assert shown["detect.image_size"] == "`96` / `192` / `256`"
    assert shown["evaluate.ks"] == "`[50, 100]`"
    assert all(comment.strip() for _, _, comment in rows)


def test_a_parameter_that_nothing_explains_has_no_place_on_the_page() -> None:
    with pytest.raises(ValueError, match=r"one\.two: no comment says what it does"):
        leaves("one:\n  # of three\n  three: 3\n  two: 2\n")


def test_every_parameter_is_read() -> None:
    """By its name, as an attribute, in a module that knows the models; or a section is dumped."""
    read: set[str] = set()
    dumped: set[str] = set()
    for file in [*(ROOT / "tasks").rglob("*.py"), *(ROOT / "flows").rglob("*.py")]:
        text = file.read_text(encoding="utf-8")
        # What a section derives from its own values is read in the module itself.
        if "tasks.base.params" in text or file.name == "params.py":
            read |= {node.attr for node in ast.walk(ast.parse(text)) if type(node) is ast.Attribute}
            dumped |= set(re.findall(r"\.(\w+)(?:, \w+\))?\.model_dump\(", text))
    lost = []
    for path in fields(Params):
        *sections, name = path.split(".")
        if name not in read and dumped.isdisjoint(sections):
            lost.append(path)
    assert lost == []


def leaves_of_params() -> list[Any]:
    return leaves((ROOT / "params.yaml").read_text(encoding="utf-8"))


def fields(model: type[Section], path: str = "") -> Iterator[str]:
    """Paths of all parameters, as in params.yaml."""
    for name, field in model.model_fields.items():
        place = f"{path}.{field.alias or name}".lstrip(".")
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            yield from fields(field.annotation, place)
        else:
            yield place
