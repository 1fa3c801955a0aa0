"""The routes of the REST service."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path as Folder
from typing import Annotated

from fastapi import FastAPI, Path, Request, Response
from fastapi import Query as Parameter

from unbundle.base.errors import UserError
from unbundle.base.request_limits import USUAL_K, Limits
from unbundle.encoding.query_observer import NOBODY, Observer
from unbundle.http.admission import Admission, at_once
from unbundle.http.error_responses import Kind, Problem, ProblemError, refused, tell_problems
from unbundle.http.openapi import BATCH_BODY, SEARCH_BODY, described, problems
from unbundle.http.page_routes import add_page, add_pictures
from unbundle.http.product_routes import add_changes, changes_on
from unbundle.http.request_bodies import read_batch, read_question
from unbundle.http.request_head import CheckedHead, Hosts
from unbundle.http.served_champion import LiveChampion
from unbundle.http.telemetry import MEDIA_TYPE as METRICS
from unbundle.http.telemetry import Measured, Telemetry
from unbundle.http.workers import Workers
from unbundle.index.change_journal import Journal
from unbundle.index.gallery_collection import Hit
from unbundle.query.search import Answer, Question
from unbundle.recording.query_log import Recorder

_JOURNAL = Journal()
_LOOPBACK = Hosts()
Identifier = Annotated[str, Path(description="Id of a photo of the catalogue.")]


@dataclass(frozen=True)
class Product:
    """One photo of the catalogue."""

    id: str
    label: str
    """The product; empty where the catalogue does not say."""
    caption: str
    image: str
    """Path relative to the catalogue's folder."""
    fields: dict[str, str | float | None]
    """Cells of the catalogue's own columns by column name; null for a number that is not there."""


@dataclass(frozen=True)
class Answers:
    """One entry per query of a batch, in order."""

    answers: tuple[Answer | Problem, ...]
    """A query's answer, or, with `status`, what is wrong with it."""


@dataclass(frozen=True)
class Similar:
    """The products nearest to one, best first, and what they were found with."""

    hits: tuple[Hit, ...]
    collection: str
    bundle: str


def create_app(
    live: LiveChampion,
    limits: Limits,
    journal: Journal = _JOURNAL,
    recorder: Recorder | None = None,
    images: Folder | None = None,
    samples: Folder | None = None,
    hosts: Hosts = _LOOPBACK,
    image_roots: Sequence[Folder] = (),
) -> FastAPI:
    """The service around a champion, which it opens when it starts and closes when it stops.

    Args:
        live: the champion.
        limits: of requests.
        journal: where changes of products are recorded.
        recorder: keeps the queries of `/search`; None keeps nothing.
        images: the catalogue's folder, for pictures.
        samples: a folder of photos to try, see `unbundle.http.page_routes.read_samples`.
        hosts: the names that clients may ask it by.
        image_roots: further folders that links in `images` and `samples` may lead to.
    """
    workers = Workers(limits.workers, limits.queue)
    painters = Workers(limits.workers, limits.queue)
    telemetry = Telemetry(workers, live, journal, recorder)
    admission = Admission(live, workers, limits)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        with live:
            yield
            workers.close()
            painters.close()

    # The framework's pages of documentation load scripts from another host.
    app = FastAPI(
        title="unbundle",
        description="Finds every single product of a bundle photo in a catalogue.",
        version=version("unbundle"),
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
    )
    app.add_middleware(CheckedHead, hosts=hosts)
    app.add_middleware(Measured, telemetry=telemetry)
    tell_problems(app, limits.retry_after)
    _add_queries(app, admission, telemetry, limits, recorder)
    add_changes(app, admission, live, limits, journal)
    painting = Admission(live, painters, limits)
    add_pictures(app, live, painting, limits, images, samples, image_roots)
    _add_health(app, live, telemetry, limits, journal)
    add_page(app, recorder.recording if recorder else None)
    described(app)
    return app


def _add_queries(
    app: FastAPI,
    admission: Admission,
    telemetry: Telemetry,
    limits: Limits,
    recorder: Recorder | None,
) -> None:
    wanted = Annotated[int, Parameter(ge=1, le=limits.k, description="Products.")]
    usual = min(USUAL_K, limits.k)

    @app.post("/search", openapi_extra=SEARCH_BODY, responses=problems(400, 408, 413, 415, 422))
    async def search(request: Request) -> Answer:
        """Find the products of a photo, of a title, or of both."""

        async def read(request: Request) -> Callable[[], Answer]:
            question = await read_question(request, limits)
            return lambda: _search(admission.live, question(), recorder)

        answer = await admission.answer(request, read)
        telemetry.answer(answer)
        return answer

    @app.post(
        "/search/batch", openapi_extra=BATCH_BODY, responses=problems(400, 408, 413, 415, 422)
    )
    async def batch(request: Request) -> Answers:
        """Answer several queries, with as few searches of the index as their filters allow."""

        async def read(request: Request) -> Callable[[], Answers]:
            questions = await read_batch(request, limits)
            return lambda: _batch(admission.live, questions())

        answered = await admission.answer(request, read)
        for answer in answered.answers:
            if isinstance(answer, Answer):
                telemetry.answer(answer)
        return answered

    @app.get("/products/{identifier}", responses=problems(404))
    async def product(request: Request, identifier: Identifier) -> Product:
        """One photo of the catalogue."""
        return await admission.answer(
            request, at_once(lambda: _product(admission.live, identifier))
        )

    @app.get("/products/{identifier}/similar", responses=problems(404, 422))
    async def similar(request: Request, identifier: Identifier, k: wanted = usual) -> Similar:
        """The other products nearest to a photo of the catalogue, by its stored vector."""
        return await admission.answer(
            request, at_once(lambda: _similar(admission.live, identifier, k))
        )


def _add_health(
    app: FastAPI, live: LiveChampion, telemetry: Telemetry, limits: Limits, journal: Journal
) -> None:
    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        """Whether the process runs."""
        return {"status": "ok"}

    @app.get("/readyz", responses=problems())
    def readyz() -> dict[str, str]:
        """Whether queries are answered: an index serves together with the bundle that made it."""
        state = live.state
        if not state.ready:
            later = {"Retry-After": str(limits.retry_after)}
            raise ProblemError(Kind.NOT_READY, state.problem, later)
        return {
            "status": "behind" if state.problem else "ready",
            "collection": state.collection or "",
            "bundle": state.bundle or "",
            "changes": "journal-full" if journal.full else "taken" if changes_on() else "off",
            "detail": state.problem,
        }

    @app.get("/metrics", response_class=Response)
    def metrics() -> Response:
        """Figures in Prometheus' text format."""
        return Response(telemetry.text(), media_type=METRICS)


def _search(live: LiveChampion, question: Question, recorder: Recorder | None) -> Answer:
    def ask(question: Question, observer: Observer) -> Answer:
        with live.champion() as search:
            return search.ask(question, observer)

    return ask(question, NOBODY) if recorder is None else recorder.answering(question, ask)


def _batch(live: LiveChampion, questions: Sequence[Question | ProblemError]) -> Answers:
    asked = [question for question in questions if isinstance(question, Question)]
    with live.champion() as search:
        answers = iter(search.batch(asked))
    return Answers(
        tuple(
            question.problem if isinstance(question, ProblemError) else _told(next(answers))
            for question in questions
        )
    )


def _told(answer: Answer | UserError) -> Answer | Problem:
    return refused(answer).problem if isinstance(answer, UserError) else answer


def _product(live: LiveChampion, identifier: str) -> Product:
    with live.champion() as search:
        hit = search.product(identifier)
    return Product(hit.id, hit.label, hit.caption, hit.image, hit.fields)


def _similar(live: LiveChampion, identifier: str, k: int) -> Similar:
    with live.champion() as search:
        hits = search.similar(identifier, k)
        return Similar(hits, search.gallery.name, search.encoder.bundle.version)
