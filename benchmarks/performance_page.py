"""Sections of `docs/performance.md`, each written by the benchmark that measured it."""

from pathlib import Path

from unbundle.base.atomic import atomic_file

PAGE = Path(__file__).parents[1] / "docs/performance.md"


def write_section(name: str, text: str, page: Path = PAGE) -> None:
    """Put `text` between the markers `<!-- name:begin -->` and `<!-- name:end -->` of a page.

    A page without these markers gets them at its end; the rest of it stays as it is.
    """
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    old = page.read_text(encoding="utf-8") if page.exists() else "# Performance\n"
    section = f"{begin}\n{text.strip()}\n{end}"
    before, found, rest = old.partition(begin)
    kept = before + section + rest.partition(end)[2]
    new = kept if found else f"{old.rstrip()}\n\n{section}\n"
    with atomic_file(page) as temporary:
        temporary.write_text(new, encoding="utf-8")
