"""Documents name what is there."""

import re
from pathlib import Path

import pytest

from unbundle.ranking.open_set_model import FEATURES

REPOSITORY = Path(__file__).parents[1]
LOG = "experiments.md"
"""Dated: its old entries name files as they were."""

PAGES = [
    REPOSITORY / "README.md",
    *(page for page in sorted((REPOSITORY / "docs").glob("*.md")) if page.name != LOG),
]
PACKAGES = "unbundle|tasks|models|flows|benchmarks|tests|infra|ablation"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_and_modules_that_a_page_names_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    files = re.findall(rf"`((?:{PACKAGES})/[\w/.*]+)`", text)
    modules = re.findall(rf"\b(?:-m |`)((?:{PACKAGES})(?:\.\w+)+)", text)
    parts = [name.replace(".", "/") for name in modules]
    missing = [name for name in files if not list(REPOSITORY.glob(name))]
    missing += [
        name
        for name in parts
        # A module, or a name within one.
        if not any(
            (REPOSITORY / path).with_suffix(".py").is_file() or (REPOSITORY / path).is_dir()
            for path in (Path(name), Path(name).parent)
        )
    ]
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text)
    assert [link for link in links if not (page.parent / link).exists()] == []


def glossary() -> tuple[list[str], list[str]]:
    text = (REPOSITORY / "docs/glossary.md").read_text(encoding="utf-8")
    terms, _, features = text.partition("## Features of the open-set score")
    rows = [line.split("|")[1].strip() for line in terms.splitlines() if line.startswith("| ")]
    return rows[2:], re.findall(r"(?m)^\| `(\w+)` \|", features)


def test_the_glossary_is_in_alphabetical_order() -> None:
    terms, _ = glossary()
    assert terms == sorted(terms, key=str.lower)


def test_the_glossary_explains_every_feature_of_the_open_set_score() -> None:
    _, features = glossary()
    assert tuple(features) == FEATURES
