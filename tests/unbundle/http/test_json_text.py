import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unbundle.http.json_text import DEEPEST, MOST_KEYS, json_fault, repeated_key


@pytest.mark.parametrize(
    ("document", "fault"),
    [
        (b"{%s}" % b",".join(b'"%d":1' % number for number in range(500_000)), "quotes"),
        (b"{%s}" % b",".join(b'"":1' for number in range(MOST_KEYS + 1)), "5,001 keys"),
        (b"[%s]" % b",".join([b"1"] * 60_000), "60,000 values"),
        (b"[" * 2_000_000, "2,000,000 bytes"),
        (b"[" * (DEEPEST + 1), "17 levels"),
        (b'["]", ' * (DEEPEST + 1), "17 levels"),
        (b'"' + b'\\"' * 1_000_000, "quotes"),
        (b" " * 2_000_000, "bytes beside its texts"),
    ],
)
def test_what_would_cost_much_is_refused_unparsed(document: bytes, fault: str) -> None:
    assert fault in json_fault(document)


@pytest.mark.parametrize(
    "document",
    [
        b'{"photo": "%s"}' % (b"QUJD" * 1_000_000),
        b'{"caption": "[[[[[[[[[[[[[[[[[[[[[[[{{{{{{{ \\" ,,,:::"}',
        b'"no end',
        b'"\\',
        b'"',
        b"",
        b"]]]",
    ],
)
def test_texts_cost_nothing(document: bytes) -> None:
    assert json_fault(document) == ""


VALUES = st.recursive(
    st.none() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=40)
@given(value=VALUES)
def test_whole_documents_are_let_through(value: Any) -> None:
    document = json.dumps(value)
    assert json_fault(document.encode()) == ""
    assert repeated_key(document) is None


def test_a_key_that_is_given_twice_is_found_at_any_depth() -> None:
    assert repeated_key('{"a": [{"b": {"c": 1, "c": 1}}], "d": 12345678901234567890}') == "c"
    assert repeated_key(b'{"a": {"a": 1}, "b": {"a": 1e400}}') is None
