"""JSON as strangers send it: measured before it is parsed, so that parsing stays cheap."""

import json
import re
from typing import Any

MOST_KEYS = 5_000
"""Of a document. A batch of 16 queries that use everything has 3,000."""

MOST_VALUES = 50_000
"""Of a document's lists and objects together. One filter may list 1,000."""

DEEPEST = 16
"""Lists and objects in one another; a batch's boxes are the fifth."""

MOST_BYTES = 1_000_000
"""Of everything but its texts."""

# Linear whatever it reads: nothing is tried twice, and a text without an end goes to the end.
_TEXT = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)
_BRACKET = re.compile(rb"[][{}]")


def json_fault(document: bytes) -> str:
    """What a document has too much of, before it is parsed; empty where it has not."""
    # Parsed, a key takes a hundred bytes, and a photo's base64 nothing beside itself.
    if fault := _over("quotes", document.count(b'"'), 4 * MOST_VALUES):
        return fault
    bare = _TEXT.sub(b'"', document)
    return (
        _over("bytes beside its texts", len(bare), MOST_BYTES)
        or _over("keys", bare.count(b":"), MOST_KEYS)
        or _over("values", bare.count(b",") + 1, MOST_VALUES)
        or _over("levels", _depth(bare), DEEPEST)
    )


def repeated_key(document: str | bytes) -> str | None:
    """A key that an object of a document has twice: whoever reads it may take either."""
    found: list[str] = []

    def look(pairs: list[tuple[str, Any]]) -> None:
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                found.append(name)
            seen.add(name)

    # No number is made: one of a million digits takes its time.
    json.loads(document, object_pairs_hook=look, parse_int=len, parse_float=len)
    return found[0] if found else None


def _over(name: str, found: int, most: int) -> str:
    return f"the JSON: {found:,} {name}; the limit is {most:,}" if found > most else ""


def _depth(bare: bytes) -> int:
    depth = deepest = 0
    for bracket in _BRACKET.findall(bare):
        depth += 1 if bracket in b"[{" else -1
        deepest = max(deepest, depth)
    return deepest
