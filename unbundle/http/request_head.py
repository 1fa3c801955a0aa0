"""What is refused by a request's head alone, before anything of its body is read."""

from starlette.types import ASGIApp, Receive, Scope, Send

from unbundle.http.problems import Kind, ProblemError, problem_response


class CheckedHead:
    """An ASGI layer that answers requests of a faulty head with a problem, and hangs up."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] == "http" and (problem := _fault(scope)):
            await problem_response(problem)(scope, receive, send)
        else:
            await self._app(scope, receive, send)


def _fault(scope: Scope) -> ProblemError | None:
    names = {name for name, _ in scope["headers"]}
    if b"transfer-encoding" in names:
        # A proxy that believes the other header, or that HTTP/1.0 has no chunks, sees the body end
        # elsewhere: what follows it there would be answered as a request of its own (RFC 9112 6.1).
        if b"content-length" in names:
            return _refusal("Content-Length and Transfer-Encoding in one request: send one")
        if scope["http_version"] == "1.0":
            return _refusal("HTTP/1.0 has no Transfer-Encoding: send Content-Length")
    return None


def _refusal(detail: str, kind: Kind = Kind.MALFORMED) -> ProblemError:
    # What follows on this connection cannot be trusted to be a request.
    return ProblemError(kind, detail, {"Connection": "close"})
