import asyncio
import base64
import io
import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import httpx
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

import unbundle.vision.imaging
from tasks.base.workspace import Workspace
from tests.support.served_catalogue import Service, Upload, close, service
from tests.support.tiny_model_bundle import scene
from tests.support.waiting import until
from unbundle import ProductSearch
from unbundle.base.rate_limited_logging import spare
from unbundle.base.request_limits import Limits
from unbundle.encoding.query_encoder import Encoder
from unbundle.http.app import create_app
from unbundle.http.openapi import BATCH_EXAMPLE, EXAMPLES
from unbundle.http.request_bodies import Query
from unbundle.http.serve import NOISY
from unbundle.http.served_champion import LiveChampion
from unbundle.index.gallery_collection import Gallery
from unbundle.vision.imaging import Photo

LIMITS = Limits(body_bytes=100_000, pixels=10_000, boxes=3, k=20, caption=50, poll=60)


@pytest.fixture(scope="module")
def running(served: Workspace) -> Iterator[Service]:
    with service(served.bundles, served.milvus, LIMITS) as started:
        yield started


@pytest.fixture(scope="module")
def search(served: Workspace) -> Iterator[ProductSearch]:
    with ProductSearch(served.bundles, str(served.milvus), threads=1) as opened:
        yield opened


def png(photo: Photo) -> bytes:
    file = io.BytesIO()
    Image.fromarray(photo).save(file, "PNG")
    return file.getvalue()


def text(content: bytes) -> str:
    return base64.b64encode(content).decode()


PHOTO = png(scene([3, 1, 5]))
QUERIES: dict[str, dict[str, Any]] = {
    "photo": {"photo": PHOTO},
    "title": {"caption": "red cream"},
    "both": {"photo": PHOTO, "caption": "serum 面霜", "k": 2},
    "boxes": {"photo": PHOTO, "boxes": [[33, 1, 63, 31]]},
    "filters": {"photo": PHOTO, "filters": {"brand": ["brand-0"], "price": {"min": 12}}},
    "bundle": {"photo": PHOTO, "bundle_price": 30.5},
    "page": {"photo": PHOTO, "k": 2, "offset": 2, "min_score": -0.5},
}


def as_json(query: dict[str, Any]) -> dict[str, Any]:
    photo = {"photo": text(query["photo"])} if "photo" in query else {}
    return {"json": query | photo}


def as_form(query: dict[str, Any]) -> dict[str, Any]:
    fields = {
        name: (None, value if isinstance(value, str) else json.dumps(value))
        for name, value in query.items()
        if name != "photo"
    }
    photo = {"photo": ("p.png", query["photo"])} if "photo" in query else {}
    return {"files": fields | photo}


@pytest.mark.parametrize("form", [as_json, as_form], ids=["json", "form"])
@pytest.mark.parametrize("name", QUERIES)
def test_a_query_has_the_answer_of_python(
    running: Service, search: ProductSearch, name: str, form: Any
) -> None:
    response = running.client.post("/search", **form(QUERIES[name]))
    assert response.status_code == 200, response.text
    expected = search(**QUERIES[name]).to_dict()
    assert response.json() == json.loads(json.dumps(expected))


def test_a_batch_has_the_answer_of_each_query(running: Service, search: ProductSearch) -> None:
    mistakes: list[Any] = [{}, {"k": 21, "caption": "red"}, "red", {"photo": text(b"GIF89a")}]
    queries = [as_json(query)["json"] for query in QUERIES.values()] + mistakes
    response = running.client.post("/search/batch", json={"queries": queries})
    assert response.status_code == 200, response.text
    answers = response.json()["answers"]
    for query, answer in zip(QUERIES.values(), answers, strict=False):
        close(answer, json.loads(json.dumps(search(**query).to_dict())))
    problems = answers[len(QUERIES) :]
    assert [problem["status"] for problem in problems] == [422] * 4
    details = ["the query is empty", "k: 21 are too many", "valid dictionary", "not a readable"]
    for problem, detail in zip(problems, details, strict=True):
        assert detail in problem["detail"]
    assert problems[1]["errors"] == [
        {"field": "k", "detail": "21 are too many; the limit is 20"},
    ]


def test_a_batch_searches_once_and_decodes_a_photo_at_a_time(
    running: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    searched, decoded = Gallery.search, unbundle.vision.imaging.open_upload

    def search(self: Gallery, vectors: Any, *rest: Any) -> Any:
        events.append(f"search {len(vectors)}")
        return searched(self, vectors, *rest)

    def decode(*arguments: Any) -> Photo:
        events.append("decode")
        return decoded(*arguments)

    encode = Encoder.encode

    def encoding(self: Encoder, *arguments: Any) -> Any:
        events.append("encode")
        return encode(self, *arguments)

    monkeypatch.setattr(Gallery, "search", search)
    monkeypatch.setattr(unbundle.vision.imaging, "open_upload", decode)
    monkeypatch.setattr(Encoder, "encode", encoding)
    queries = [{"photo": text(PHOTO)}, {"photo": text(PHOTO), "caption": "red"}]
    running.client.post("/search/batch", json={"queries": queries})
    assert events[:5] == ["decode", "encode", "decode", "encode", "search 6"]


JSON_OF = {"headers": {"content-type": "application/json"}}


@pytest.mark.parametrize(
    ("status", "detail", "request_"),
    [
        (422, "queries: 17 are too many; the limit is 16", {"json": {"queries": [{}] * 17}}),
        (422, "queries: ", {"json": {"queries": []}}),
        (422, "queries: given twice", JSON_OF | {"content": b'{"queries":[{}],"queries":[{}]}'}),
        (422, "queries: ", {"json": {}}),
        (422, "more: Extra", {"json": {"queries": [{}], "more": 1}}),
        (400, "Invalid JSON", JSON_OF | {"content": b"{"}),
        (413, "more than 100,000 bytes", {"json": {"queries": [{"caption": "r" * 100_000}]}}),
        (415, "send application/json", {"files": {"queries": (None, "[]")}}),
    ],
)
def test_what_is_no_batch_is_a_problem(
    running: Service, status: int, detail: str, request_: dict[str, Any]
) -> None:
    response = running.client.post("/search/batch", **request_)
    assert response.status_code == status, response.text
    assert detail in problem_of(response)["detail"]


def test_a_form_of_a_browser_may_have_an_empty_file(running: Service) -> None:
    part = '--x\r\nContent-Disposition: form-data; name="{}"{}\r\n\r\n{}\r\n'
    body = part.format("photo", '; filename=""', "") + part.format("caption", "", "red") + "--x--"
    headers = {"content-type": "multipart/form-data; boundary=x"}
    response = running.client.post("/search", content=body, headers=headers)
    assert response.json()["instances"][0]["box"] is None


def test_a_product_is_told(running: Service) -> None:
    answer = running.client.get("/products/g3-1").json()
    assert answer == {
        "id": "g3-1",
        "label": "product-3",
        "caption": "red cream 3",
        "image": "images/g3-1.png",
        "fields": {"price": 13, "brand": "brand-1"},
    }


def test_similar_products_come_best_first_without_the_product(
    running: Service, search: ProductSearch
) -> None:
    answer = running.client.get("/products/g3-0/similar", params={"k": 4}).json()
    labels = [hit["label"] for hit in answer["hits"]]
    rows = search.gallery.rows
    (exact,) = search.gallery.exact_search(rows.vectors[[rows.ids.index("g3-0")]], 12)
    wanted = dict.fromkeys(hit.label for hit in exact if hit.label != "product-3")
    assert labels == list(wanted)[:4]
    assert answer["collection"] == search.gallery.name
    assert answer["bundle"] == search.encoder.bundle.version


def test_health_and_readiness(running: Service, search: ProductSearch) -> None:
    assert running.client.get("/healthz").json() == {"status": "ok"}
    ready = running.client.get("/readyz")
    assert ready.status_code == 200
    assert ready.json() == {
        "status": "ready",
        "collection": search.gallery.name,
        "bundle": search.encoder.bundle.version,
        "changes": "off",
        "detail": "",
    }


def figures(client: httpx.Client) -> dict[str, float]:
    lines = client.get("/metrics").text.splitlines()
    pairs = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    return {name: float(value) for name, value in pairs}


def test_metrics_count(running: Service, search: ProductSearch) -> None:
    def counted(status: int) -> float:
        name = f'unbundle_requests_total{{method="POST",route="/search",status="{status}"}}'
        return figures(running.client).get(name, 0)

    before = counted(200), counted(422)
    running.client.post("/search", json={"caption": "red"})
    running.client.post("/search", json={})
    assert (counted(200), counted(422)) == (before[0] + 1, before[1] + 1)
    now = figures(running.client)
    champion = f'collection="{search.gallery.name}"'
    bundle = f'bundle="{search.encoder.bundle.version}"'
    assert now[f"unbundle_champion{{{bundle},{champion}}}"] == 1
    assert (now["unbundle_ready"], now["unbundle_behind"], now["unbundle_champions"]) == (1, 0, 1)
    assert (now["unbundle_places"], now["unbundle_places_taken"]) == (34, 0)
    assert now['unbundle_instances_total{in_catalogue="yes"}'] > 0
    assert now["process_resident_memory_bytes"] > 0


def test_strange_methods_and_paths_make_no_new_figures(running: Service) -> None:
    running.client.request("BREW", "/search")
    running.client.get("/anything")
    names = [name for name in figures(running.client) if "requests_total" in name]
    assert 'unbundle_requests_total{method="other",route="/search",status="405"}' in names
    assert not [name for name in names if "BREW" in name or "anything" in name]


ERRORS: dict[str, tuple[int, str, dict[str, Any]]] = {
    "no JSON": (400, "Invalid JSON", {"content": b"{", "headers": {"content-type": "text/json"}}),
    "nothing": (422, "the query is empty", {"json": {}}),
    "a list": (422, "", {"json": []}),
    "unknown field": (422, "colour: Extra", {"json": {"colour": 1}}),
    "no base64": (422, "photo: ", {"json": {"photo": "?"}}),
    "no photo": (422, "not a readable image", {"json": {"photo": text(b"GIF89a")}}),
    "cut photo": (422, "not a readable image", {"json": {"photo": text(PHOTO[:80])}}),
    "pixels": (422, "more than 10,000", {"json": {"photo": text(png(scene([1], 128)))}}),
    "k 0": (422, "k: ", {"json": {"caption": "red", "k": 0}}),
    "k": (422, "k: 21 are too many; the limit is 20", {"json": {"caption": "red", "k": 21}}),
    "offset": (422, "offset: 1,001 are too many", {"json": {"caption": "red", "offset": 1001}}),
    "score": (422, "min_score: ", {"json": {"caption": "red", "min_score": "high"}}),
    "caption": (422, "caption: 51 are too many", {"json": {"caption": "r" * 51}}),
    "boxes": (422, "boxes: 4 are too many", {"json": {"boxes": [[0, 0, 1, 1]] * 4}}),
    "price": (422, "bundle_price: ", {"json": {"caption": "red", "bundle_price": -1}}),
    "no boxes": (422, "0 boxes", {"json": {"photo": text(PHOTO), "boxes": []}}),
    "box": (422, "boxes.0", {"json": {"photo": text(PHOTO), "boxes": [[0, 0, 1]]}}),
    "box outside": (422, "inside the photo", {"json": {"photo": text(PHOTO), "boxes": [[0] * 4]}}),
    "box only": (422, "boxes without a photo", {"json": {"caption": "a", "boxes": [[0, 0, 1, 1]]}}),
    "filter": (422, "no such column", {"json": {"caption": "red", "filters": {"shade": 1}}}),
    "bounds": (422, "filters.price", {"json": {"caption": "red", "filters": {"price": {}}}}),
    "surrogate": (400, "Invalid JSON", {"content": rb'{"caption": "\ud800"}'}),
    "body": (413, "more than 100,000 bytes", {"content": b" " * 100_001}),
    "long body": (413, "more than 100,000 bytes", {"content": b" " * 3_000_000}),
    "long form": (413, "more than 100,000 bytes", {"files": {"photo": b" " * 100_000}}),
    "media type": (
        415,
        "send application/json",
        {"content": b"<>", "headers": {"content-type": ""}},
    ),
    "no form": (
        400,
        "",
        {"content": b"red", "headers": {"content-type": "multipart/form-data; boundary=x"}},
    ),
    "no boundary": (400, "", {"content": b"-", "headers": {"content-type": "multipart/form-data"}}),
    "charset": (
        415,
        "charset undefined: send UTF-8",
        {
            "content": b'--x\r\nContent-Disposition: form-data; name="caption"\r\n\r\na\r\n--x--',
            "headers": {"content-type": "multipart/form-data; boundary=x; charset=undefined"},
        },
    ),
    "twice": (422, "k: given twice", {"files": [("k", (None, "1")), ("k", (None, "1"))]}),
    "photo as text": (422, "photo: send the photo as a file", {"files": {"photo": (None, "x")}}),
    "file": (422, "boxes: send the photo as a file", {"files": {"boxes": ("b", b"[]")}}),
    "form boxes": (422, "boxes: not JSON", {"files": {"boxes": (None, "[" * 9)}}),
    "deep form": (422, "boxes: the JSON: 9,000 levels", {"files": {"boxes": (None, "[" * 9000)}}),
    "form keys": (422, "a: given twice", {"files": {"filters": (None, '{"a": 1, "a": 2}')}}),
    "keys": (422, "k: given twice", {"content": b'{"caption": "red", "k": 1, "k": 2}'}),
    "inner keys": (
        422,
        "min: given twice",
        {"content": b'{"caption": "a", "filters": {"price": {"min": 1, "min": 2}}}'},
    ),
    "deep": (422, "the JSON: 17 levels", {"content": b"[" * 17 + b"]" * 17}),
}


def problem_of(response: httpx.Response) -> dict[str, Any]:
    assert response.headers["content-type"] == "application/problem+json", response.text
    problem = response.json()
    assert isinstance(problem, dict)
    assert {"type", "title", "status"} <= set(problem)
    assert problem["status"] == response.status_code
    return problem


@pytest.mark.parametrize("name", ERRORS)
def test_a_mistake_is_a_problem(running: Service, name: str) -> None:
    status, detail, request = ERRORS[name]
    if "content" in request:
        request = {"headers": {"content-type": "application/json"}} | request
    if name == "no JSON":
        request = request | {"headers": {"content-type": "application/json; charset=utf-8"}}
    response = running.client.post("/search", **request)
    assert response.status_code == status, response.text
    assert detail in problem_of(response).get("detail", "")


def test_junk_writes_few_warnings(running: Service, caplog: pytest.LogCaptureFixture) -> None:
    spare(*NOISY)
    headers = {"content-type": "multipart/form-data; boundary=x"}
    for _ in range(20):
        assert running.client.post("/search", content=b"red", headers=headers).status_code == 400
    with socket.create_connection(("127.0.0.1", running.port)) as client:
        client.sendall(b"?\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 400")
    assert 1 <= len([one for one in caplog.records if one.name in NOISY]) <= 3


def test_every_wrong_value_is_named(running: Service) -> None:
    response = running.client.post("/search", json={"k": "many", "boxes": 3})
    fields = [error["field"] for error in problem_of(response)["errors"]]
    assert fields == ["boxes", "k"]


@pytest.mark.parametrize(
    ("method", "path", "status", "kind"),
    [
        ("GET", "/nothing", 404, "about:blank"),
        ("GET", "/search", 405, "about:blank"),
        ("GET", "/products/nothing", 404, "urn:unbundle:problem:not-found"),
        ("GET", '/products/"%20or%20id%20!=%20"', 404, "urn:unbundle:problem:not-found"),
        ("GET", "/products/nothing/similar", 404, "urn:unbundle:problem:not-found"),
        ("GET", "/products/g3-0/similar?k=0", 422, "urn:unbundle:problem:invalid"),
        ("GET", "/products/g3-0/similar?k=21", 422, "urn:unbundle:problem:invalid"),
    ],
)
def test_what_is_not_there_is_a_problem(
    running: Service, method: str, path: str, status: int, kind: str
) -> None:
    response = running.client.request(method, path)
    problem = problem_of(response)
    assert (response.status_code, problem["type"]) == (status, kind)


def test_a_full_queue_refuses_and_asks_to_come_again(served: Workspace) -> None:
    limits = Limits(workers=1, queue=1, retry_after=7, poll=60)
    with (
        service(served.bundles, served.milvus, limits) as running,
        closing(Upload(running.port)) as first,
        closing(Upload(running.port)) as second,
    ):
        assert figures(running.client)["unbundle_places_taken"] == 2
        for request in ({"json": {"caption": "red"}}, {"content": b"x" * 1_000_000}):
            response = running.client.post("/search", **request)
            assert problem_of(response)["type"] == "urn:unbundle:problem:busy"
            assert (response.status_code, response.headers["retry-after"]) == (503, "7")
        assert running.client.get("/products/g3-0").status_code == 503
        assert running.client.get("/healthz").status_code == 200
        assert first.send() == 200
        assert running.client.post("/search", json={"caption": "red"}).status_code == 200
        assert second.send() == 200


def test_a_burst_is_answered_or_refused(served: Workspace) -> None:
    limits = Limits(workers=1, queue=1, poll=60)
    query = as_json(QUERIES["both"])
    with (
        service(served.bundles, served.milvus, limits) as running,
        ThreadPoolExecutor(16) as pool,
    ):
        post = lambda _: running.client.post("/search", **query).status_code  # noqa: E731
        statuses = list(pool.map(post, range(64)))
        assert set(statuses) == {200, 503}
        assert figures(running.client)["unbundle_places_taken"] == 0


def test_a_client_that_goes_away_gives_its_place_back(served: Workspace) -> None:
    limits = Limits(workers=1, queue=0, poll=60)
    with service(served.bundles, served.milvus, limits) as running:
        Upload(running.port).close()
        until(lambda: not figures(running.client)["unbundle_places_taken"])
        assert running.client.post("/search", json={"caption": "red"}).status_code == 200
        assert not [name for name in figures(running.client) if 'status="500"' in name]


def test_slow_uploads_and_slow_answers_end(served: Workspace) -> None:
    limits = Limits(workers=1, queue=1, seconds=0.001, pixels=10**8, poll=60)
    large = np.zeros((3000, 3000, 3), np.uint8)
    with service(served.bundles, served.milvus, limits) as running:
        with closing(Upload(running.port)) as upload:
            assert upload.file.readline().split()[1] == b"408"
        response = running.client.post("/search", json={"photo": text(png(large))})
        kinds = {f"urn:unbundle:problem:{slug}" for slug in ("too-slow", "upload-too-slow")}
        assert problem_of(response)["type"] in kinds


def test_the_usual_k_gives_way_to_the_limit(served: Workspace) -> None:
    with service(served.bundles, served.milvus, Limits(k=2, poll=60)) as running:
        (instance,) = running.client.post("/search", json={"caption": "red"}).json()["instances"]
        similar = running.client.get("/products/g3-0/similar").json()
    assert (len(instance["hits"]), len(similar["hits"])) == (2, 2)


def test_a_fault_of_the_service_tells_nothing_of_its_inside(served: Workspace) -> None:
    app = create_app(LiveChampion(served.bundles, str(served.milvus), threads=1), LIMITS)

    @app.get("/fault")
    def fault() -> None:
        raise RuntimeError("the password is 1234")

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await client.get("/fault")

    response = asyncio.run(ask())
    assert problem_of(response)["type"] == "urn:unbundle:problem:internal"
    assert "1234" not in response.text


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "$ref":
                yield value
            yield from references(value)
    if isinstance(node, list):
        for value in node:
            yield from references(value)


def test_the_description_is_whole(running: Service) -> None:
    schema = running.client.get("/openapi.json").json()
    assert set(schema["paths"]) == {
        *("/search", "/search/batch", "/products/{identifier}", "/products/{identifier}/similar"),
        *("/products/{identifier}/image", "/samples", "/samples/{name}", "/columns"),
        *("/healthz", "/readyz", "/metrics"),
    }
    for reference in references(schema):
        assert reference.removeprefix("#/components/schemas/") in schema["components"]["schemas"]
    content = schema["paths"]["/search"]["post"]["requestBody"]["content"]
    assert set(content) == {"application/json", "multipart/form-data"}


def test_the_description_of_a_batch_gives_an_example_that_works(running: Service) -> None:
    answers = running.client.post("/search/batch", json=BATCH_EXAMPLE).json()["answers"]
    assert ["status" in answer for answer in answers] == [False, True, False]


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_description_gives_examples_that_work(running: Service, name: str) -> None:
    assert running.client.post("/search", json=EXAMPLES[name]).status_code == 200


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
BODIES = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys((*Query.model_fields, "else"), JSON),
)
TYPES = st.sampled_from(
    ["application/json", "multipart/form-data; boundary=x", "multipart/form-data", "", "a/b"]
)
PARTS = st.lists(
    st.tuples(st.sampled_from(["photo", "caption", "boxes", "k", "\\"]), st.binary(max_size=40))
)


def refused_well(response: httpx.Response) -> None:
    if response.status_code != 200:
        assert response.status_code in (400, 413, 415, 422), response.text
        problem_of(response)


@settings(max_examples=25)
@given(kind=TYPES, body=st.binary(max_size=200))
def test_no_bytes_make_it_fail(running: Service, kind: str, body: bytes) -> None:
    headers = {"content-type": kind}
    refused_well(running.client.post("/search", content=body, headers=headers))


@settings(max_examples=30)
@given(body=BODIES)
def test_no_values_make_it_fail(running: Service, body: dict[str, Any]) -> None:
    headers = {"content-type": "application/json"}
    content = json.dumps(body).encode()
    refused_well(running.client.post("/search", content=content, headers=headers))


@settings(max_examples=20)
@given(queries=st.lists(BODIES | JSON, max_size=4))
def test_no_batch_makes_it_fail(running: Service, queries: list[Any]) -> None:
    content = json.dumps({"queries": queries}).encode()
    headers = {"content-type": "application/json"}
    response = running.client.post("/search/batch", content=content, headers=headers)
    refused_well(response)
    if response.status_code == 200:
        assert len(response.json()["answers"]) == len(queries)


@settings(max_examples=25)
@given(parts=PARTS, charset=st.sampled_from(["utf-8", "UTF-8", "unicode_escape", "idna", "hex"]))
@example(parts=[("caption", b"\\\x00")], charset="unicode_escape")
def test_no_form_makes_it_fail(
    running: Service, parts: list[tuple[str, bytes]], charset: str
) -> None:
    lines = [
        b'--x\r\nContent-Disposition: form-data; name="%s"%s\r\n\r\n%s\r\n'
        % (name.encode(), b'; filename="f"' if name == "photo" else b"", value)
        for name, value in parts
    ]
    headers = {"content-type": f"multipart/form-data; boundary=x; charset={charset}"}
    body = b"".join(lines) + b"--x--\r\n"
    refused_well(running.client.post("/search", content=body, headers=headers))


@settings(max_examples=25)
@given(place=st.integers(0, len(PHOTO) - 1), byte=st.integers(0, 255))
def test_no_photo_makes_it_fail(running: Service, place: int, byte: int) -> None:
    broken = PHOTO[:place] + bytes([byte]) + PHOTO[place + 1 :]
    refused_well(running.client.post("/search", **as_json({"photo": broken})))
