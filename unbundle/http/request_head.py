"""What is refused by a request's head alone, before anything of its body is read."""

from collections.abc import Iterable
from ipaddress import ip_address

from starlette.types import ASGIApp, Receive, Scope, Send

from unbundle.http.error_responses import Kind, ProblemError, problem_response

ANY_HOST = "*"
"""As an allowed host: every name."""


class Hosts:
    """The names in `Host` that requests are answered under.

    A page of another site makes its own name mean 127.0.0.1 (DNS rebinding), and then reads what a
    visitor's browser gets from a service there. The name in `Host` stays that site's own.

    Args:
        names: DNS names, in addition to those of the loopback; `ANY_HOST` allows all.
        listen: the address that the service listens on. Beyond the loopback, any address is
            allowed: rebinding takes a name.
    """

    def __init__(self, names: Iterable[str] = (), listen: str = "127.0.0.1") -> None:
        self._names = {name.lower().rstrip(".") for name in (*names, "localhost", listen)}
        self._names.discard("")
        self._addresses = not _is_loopback(listen)

    def allow(self, host: str) -> bool:
        """Whether a `Host` header's value, with or without a port, names this service."""
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
        name = name.strip("[]").lower().rstrip(".")
        if name in self._names or ANY_HOST in self._names:
            return True
        return _is_address(name) if self._addresses else _is_loopback(name)


class CheckedHead:
    """An ASGI layer that answers requests of a faulty head with a problem, and hangs up.

    Args:
        app: what it passes the others on to.
        hosts: the names that clients may ask by.
    """

    def __init__(self, app: ASGIApp, hosts: Hosts) -> None:
        self._app, self._hosts = app, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] == "http" and (problem := _fault(scope, self._hosts)):
            await problem_response(problem)(scope, receive, send)
        else:
            await self._app(scope, receive, send)


def _fault(scope: Scope, hosts: Hosts) -> ProblemError | None:
    names = {name for name, _ in scope["headers"]}
    if b"transfer-encoding" in names:
        # A proxy that believes the other header, or that HTTP/1.0 has no chunks, sees the body end
        # elsewhere: what follows it there would be answered as a request of its own (RFC 9112 6.1).
        if b"content-length" in names:
            return _refusal("Content-Length and Transfer-Encoding in one request: send one")
        if scope["http_version"] == "1.0":
            return _refusal("HTTP/1.0 has no Transfer-Encoding: send Content-Length")
    # HTTP/1.0 needs no Host, and a browser always sends one.
    given = [value for name, value in scope["headers"] if name == b"host"]
    if any(not hosts.allow(value.decode("latin-1")) for value in given):
        return _refusal("see --allowed-host of unbundle serve", Kind.WRONG_HOST)
    return None


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _is_loopback(name: str) -> bool:
    return name == "localhost" or (_is_address(name) and ip_address(name).is_loopback)


def _refusal(detail: str, kind: Kind = Kind.MALFORMED) -> ProblemError:
    # What follows on this connection cannot be trusted to be a request.
    return ProblemError(kind, detail, {"Connection": "close"})
