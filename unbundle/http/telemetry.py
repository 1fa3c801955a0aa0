"""What a shop monitors: the service's figures in Prometheus' text format."""

import time
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from unbundle.http.served_champion import LiveChampion
from unbundle.http.workers import Workers
from unbundle.index.change_journal import Journal
from unbundle.query.search import Answer
from unbundle.recording.query_log import Recorder

MEDIA_TYPE = CONTENT_TYPE_PLAIN_0_0_4

_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


class Telemetry:
    """Counts requests and what was found; reads places and champion when it is asked."""

    def __init__(
        self, workers: Workers, live: LiveChampion, journal: Journal, recorder: Recorder | None
    ) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_Gauges(workers, live, journal, recorder))
        ProcessCollector(registry=self._registry)
        self._requests = Counter(
            "unbundle_requests",
            "Answered requests.",
            ("route", "method", "status"),
            registry=self._registry,
        )
        self._seconds = Histogram(
            "unbundle_request_seconds",
            "From a request's first byte to its answer's last.",
            ("route",),
            buckets=_BUCKETS,
            registry=self._registry,
        )
        self._instances = Counter(
            "unbundle_instances",
            "Products seen in queries, by whether the catalogue has them.",
            ("in_catalogue",),
            registry=self._registry,
        )

    def request(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count one answered request."""
        self._requests.labels(route, method, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def answer(self, answer: Answer) -> None:
        """Count the instances of an answer."""
        for instance in answer.instances:
            self._instances.labels("yes" if instance.in_catalogue else "no").inc()

    def text(self) -> bytes:
        """Everything, in Prometheus' text format."""
        return generate_latest(self._registry)


class _Gauges(Collector):
    def __init__(
        self, workers: Workers, live: LiveChampion, journal: Journal, recorder: Recorder | None
    ) -> None:
        self._workers, self._live, self._journal = workers, live, journal
        self._recorder = recorder

    def collect(self) -> Iterator[Metric]:
        state = self._live.state
        behind = state.ready and bool(state.problem)
        for name, about, value in (
            ("places", "Requests that may run or wait at once.", self._workers.places),
            ("places_taken", "Requests that run or wait.", self._workers.taken),
            ("ready", "1 while queries are answered.", state.ready),
            ("behind", "1 while the alias names an index that cannot be served.", behind),
            ("journal_full", "1 while there is no room to record changes.", self._journal.full),
            ("champions", "Champions opened since the start.", state.changes),
        ):
            yield GaugeMetricFamily(f"unbundle_{name}", about, float(value))
        lost = self._recorder.lost if self._recorder else 0
        about = "Answered queries that could not be recorded."
        yield CounterMetricFamily("unbundle_records_lost", about, lost)
        info = GaugeMetricFamily(
            "unbundle_champion", "1 for what serves.", labels=("collection", "bundle")
        )
        if state.collection is not None:
            info.add_metric((state.collection, state.bundle or ""), 1)
        yield info


class Measured:
    """An ASGI layer that counts every request; paths of no route are one route, `none`."""

    def __init__(self, app: ASGIApp, telemetry: Telemetry) -> None:
        self._app, self._telemetry = app, telemetry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and count it when it has ended."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status, start = 500, time.perf_counter()

        async def noting(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            await self._app(scope, receive, noting)
        finally:
            route = getattr(scope.get("route"), "path", "none")
            # A caller may name any method: a label of its own for each would fill the memory.
            method = scope["method"] if scope["method"] in _METHODS else "other"
            self._telemetry.request(route, method, status, time.perf_counter() - start)
