"""Heads that are refused, as bytes on a connection: no client library would send them."""

import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from tasks.base.workspace import Workspace
from tests.support.served import Service, service
from unbundle.base.limits import Limits

SMUGGLED = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.fixture(scope="module")
def running(served: Workspace) -> Iterator[Service]:
    with service(served.bundles, served.milvus, Limits(poll=60)) as started:
        yield started


def sent(running: Service, *lines: str, body: bytes = b"") -> tuple[int, dict[str, Any]]:
    """Status and JSON of the one answer that comes until the service hangs up."""
    with socket.create_connection(("127.0.0.1", running.port), timeout=10) as client:
        client.sendall("\r\n".join((*lines, "", "")).encode() + body)
        answer = client.makefile("rb").read()
    head, _, content = answer.partition(b"\r\n\r\n")
    assert b"connection: close" in head.lower()
    assert content.count(b"HTTP/1.1") == 0, answer
    kind = b"content-type: application/problem+json" in head.lower()
    return int(head.split()[1]), json.loads(content) if kind else {}


@pytest.mark.parametrize(
    ("version", "more"),
    [
        ("1.1", ["Content-Length: 4", "Transfer-Encoding: chunked"]),
        ("1.1", ["transfer-encoding: chunked", "content-length: 4"]),
        ("1.0", ["Transfer-Encoding: chunked"]),
    ],
)
def test_a_body_of_two_lengths_is_refused_and_what_follows_is_no_request(
    running: Service, version: str, more: list[str]
) -> None:
    lines = [f"POST /search HTTP/{version}", "Host: localhost", "Content-Type: application/json"]
    status, problem = sent(running, *lines, *more, body=b"0\r\n\r\n" + SMUGGLED)
    assert (status, problem["type"]) == (400, "urn:unbundle:problem:malformed")
    assert "Transfer-Encoding" in problem["detail"]


@pytest.mark.parametrize(
    "more",
    [
        ["Content-Length: 4", "Content-Length: 5"],
        ["Content-Length: -4"],
        ["Transfer-Encoding: gzip, chunked"],
    ],
)
def test_a_length_that_cannot_be_read_is_refused(running: Service, more: list[str]) -> None:
    lines = ["POST /search HTTP/1.1", "Host: localhost", "Content-Type: application/json"]
    assert sent(running, *lines, *more, body=b"0\r\n\r\n" + SMUGGLED)[0] == 400
