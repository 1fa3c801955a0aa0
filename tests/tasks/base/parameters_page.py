"""`docs/parameters.md` from params.yaml: every parameter with its values and its comment.

python -m tests.tasks.base.parameters_page    # write it anew
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tasks.base.params import SCALES

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs/parameters.md"

_INTRODUCTION = """# Parameters

What there is to turn: all of [params.yaml](../params.yaml), whose comments these are. *By scale*
stands for `tiny / demo / full`, which the first parameter, `scale`, chooses from. Try a value with
`dvc exp run -S pretrain.epochs=4`, or several with `--queue`. What is not here is a constant of the
module that uses it, with its reason. The page is written by
`python -m tests.tasks.base.parameters_page`; a test compares.
"""


@dataclass(frozen=True)
class Leaf:
    """A parameter.

    Attributes:
        path: its keys, joined by dots.
        value: as it stands in the file; a dict by scale counts as one.
        comment: its own, or that of the section around it.
    """

    path: str
    value: Any
    comment: str

    @property
    def shown(self) -> str:
        """The value as the page shows it."""
        values = self.value.values() if _by_scale(self.value) else [self.value]
        return " / ".join(f"`{_written(value)}`" for value in values)


def leaves(text: str) -> list[Leaf]:
    """Every parameter of a file like params.yaml, in its order.

    Raises:
        ValueError: one has no comment, nor has the section around it.
    """
    comments = dict(_comments(text))
    found = []
    for path, value in _flat(yaml.safe_load(text)):
        comment = comments.get(path) or comments.get(path.rpartition(".")[0])
        if not comment:
            raise ValueError(f"{path}: no comment says what it does")
        found.append(Leaf(path, value, comment))
    return found


def page(text: str) -> str:
    """The page, as Markdown."""
    comments, found = dict(_comments(text)), leaves(text)
    parts = [_INTRODUCTION]
    section = None
    for leaf in found:
        name = leaf.path.partition(".")[0] if "." in leaf.path else "all stages"
        if name != section:
            section = name
            said = f": {comments[name]}" if name in comments else ""
            parts.append(f"\n## {name}{said}\n")
            inner = {one.path.rpartition(".")[0] for one in found} - {name}
            inner |= {path.rpartition(".")[0] for path in inner}
            parts += [
                f"\n`{path}`: {comment}\n"
                for path, comment in comments.items()
                if path.startswith(f"{name}.") and path in inner
            ]
            parts.append(
                "\n| parameter | value, or by scale | what it does |\n| --- | --- | --- |\n"
            )
        parts.append(f"| `{leaf.path}` | {leaf.shown} | {leaf.comment.replace('|', 'or')} |\n")
    return "".join(parts)


def _by_scale(value: Any) -> bool:
    return isinstance(value, dict) and set(value) == set(SCALES)


def _written(value: Any) -> str:
    """As YAML has it, on one line."""
    return yaml.safe_dump(value, default_flow_style=True, width=1000).split("\n")[0]


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if not isinstance(value, dict) or _by_scale(value):
        yield path, value
        return
    for key, item in value.items():
        yield from _flat(item, f"{path}.{key}".lstrip("."))


def _comments(text: str) -> Iterator[tuple[str, str]]:
    """Path and comment of every key that has one: lines above it, and what follows on its own."""
    keys: list[str] = []
    above: list[str] = []
    for line in text.splitlines():
        if remark := re.fullmatch(r"\s*# (.*)", line):
            above.append(remark[1])
        elif key := re.fullmatch(r"((?:  )*)(\w+):(?: .*?)??(?: *# (.*))?", line):
            keys = [*keys[: len(key[1]) // 2], key[2]]
            comment = " ".join([*above, key[3]] if key[3] else above)
            if comment:
                yield ".".join(keys), comment
            above = []
        else:
            above = []


if __name__ == "__main__":
    PAGE.write_text(page((ROOT / "params.yaml").read_text(encoding="utf-8")), encoding="utf-8")
