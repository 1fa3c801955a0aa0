"""Heads that are refused, as bytes on a connection: no client library would send them."""

import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from tasks.base.workspace import Workspace
from tests.support.served_catalogue import Service, service
from unbundle.base.request_limits import Limits
from unbundle.http.request_head import Hosts

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


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", ""])
def test_a_name_of_another_site_is_refused(running: Service, host: str) -> None:
    status, problem = sent(running, "GET /healthz HTTP/1.1", f"Host: {host}")
    assert (status, problem["type"]) == (421, "urn:unbundle:problem:wrong-host")


@pytest.mark.parametrize(
    ("names", "listen", "allowed", "refused"),
    [
        (
            (),
            "127.0.0.1",
            ["localhost", "LOCALHOST.:80", "127.0.0.1:8000", "127.9.9.9", "[::1]:80"],
            ["10.0.0.7:8000", "localhost.evil.example", "evil.example", "1", "[::1", "a:b:c", ""],
        ),
        # As containers do: whoever probes a pod by its address is answered.
        ((), "0.0.0.0", ["10.0.0.7:8000", "[fe80::1]:80", "localhost"], ["evil.example", ""]),
        (["Shop.Example"], "::", ["shop.example:443", "10.0.0.7"], ["www.shop.example"]),
        ((), "box.example", ["box.example", "10.0.0.7"], ["evil.example"]),
        (["*"], "127.0.0.1", ["anything"], []),
    ],
)
def test_a_service_is_asked_by_its_own_names(
    names: list[str], listen: str, allowed: list[str], refused: list[str]
) -> None:
    hosts = Hosts(names, listen)
    assert [host for host in allowed + refused if hosts.allow(host)] == allowed


def test_a_client_of_http_1_0_may_name_no_host(running: Service) -> None:
    assert sent(running, "GET /healthz HTTP/1.0")[0] == 200
