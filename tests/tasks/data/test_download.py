import hashlib
import io
import json
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tasks.base.params import Download, Params
from tasks.data.download import WantedImage, download

ROOT = Path(__file__).parents[3]


def image_bytes(seed: int, side: int = 200) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8)
    Image.fromarray(pixels).save(file := io.BytesIO(), "PNG")
    return file.getvalue()


IMAGE = image_bytes(1)
OTHER = image_bytes(2)
HALF = len(IMAGE) // 2


class Shop(ThreadingHTTPServer):
    """A real server: `answers` decides what each path does, `seen` is what was asked of it."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: dict[str, list[Answer]] = {}
        self.seen: dict[str, list[tuple[float, str]]] = defaultdict(list)
        self.closing = threading.Event()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/{path}"

    def serve(self, path: str, *answers: "Answer") -> str:
        """Answer `path` with each of `answers` in turn, the last one for ever."""
        self.answers[f"/{path}"] = list(answers)
        return self.url(path)


class Handler(BaseHTTPRequestHandler):
    server: Shop

    def do_GET(self) -> None:
        self.server.seen[self.path].append((time.monotonic(), self.headers.get("Range", "")))
        answers = self.server.answers[self.path]
        (answers.pop(0) if len(answers) > 1 else answers[0])(self)

    def reply(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content_Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


Answer = Callable[[Handler], None]


def whole(body: bytes = IMAGE, **headers: str) -> Answer:
    return lambda handler: handler.reply(200, body, **headers)


def status(code: int, **headers: str) -> Answer:
    return lambda handler: handler.reply(code, **headers)


def cut(body: bytes = IMAGE, **headers: str) -> Answer:
    """Promise the whole body, send half of it, hang up."""
    return lambda handler: handler.reply(
        200, body[: len(body) // 2], Content_Length=str(len(body)), **headers
    )


def stall(handler: Handler) -> None:
    handler.reply(200, IMAGE[:HALF], Content_Length=str(len(IMAGE)))
    handler.wfile.flush()
    handler.server.closing.wait()


def ranged(body: bytes, etag: str) -> Answer:
    """Send what a range asks for if its condition names `etag`, else everything (RFC 9110)."""

    def answer(handler: Handler) -> None:
        asked = handler.headers.get("Range")
        if not asked or handler.headers.get("If-Range") != etag:
            return handler.reply(200, body, ETag=etag)
        start = int(asked.removeprefix("bytes=").removesuffix("-"))
        span = f"bytes {start}-{len(body) - 1}/{len(body)}"
        return handler.reply(206, body[start:], Content_Range=span, ETag=etag)

    return answer


@pytest.fixture
def shop() -> Iterator[Shop]:
    server = Shop()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.closing.set()
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def settings(tiny_params: Params) -> Download:
    quick = {"workers": 4, "timeout_s": 5, "retries": 2, "pause_s": 0.001, "give_up_after": 50}
    return tiny_params.catalogue.download.model_copy(update=quick)


def ledger(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "ledger.jsonl").read_text().splitlines()]


def test_images_arrive_with_their_digests(tmp_path: Path, shop: Shop, settings: Download) -> None:
    items = [
        WantedImage(f"{n}", (shop.serve(f"{n}.jpg", whole(image_bytes(n, 8))),)) for n in range(40)
    ]
    assert download(items, tmp_path, settings) == {}
    for n, item in enumerate(items):
        assert (tmp_path / f"images/{item.id}.jpg").read_bytes() == image_bytes(n, 8)
    assert {(entry["id"], entry["sha256"], entry["bytes"]) for entry in ledger(tmp_path)} == {
        (f"{n}", hashlib.sha256(image_bytes(n, 8)).hexdigest(), len(image_bytes(n, 8)))
        for n in range(40)
    }
    assert json.loads((tmp_path / "failures.json").read_text()) == {}


def test_a_second_run_asks_for_nothing_that_is_whole(
    tmp_path: Path, shop: Shop, settings: Download
) -> None:
    items = [WantedImage(name, (shop.serve(name, whole()),)) for name in ("kept", "spoilt", "lost")]
    download(items, tmp_path, settings)
    (tmp_path / "images/spoilt.jpg").write_bytes(IMAGE[:-1] + b"x")
    (tmp_path / "images/lost.jpg").unlink()
    assert download(items, tmp_path, settings) == {}
    assert {path: len(asked) for path, asked in shop.seen.items()} == {
        "/kept": 1, "/spoilt": 2, "/lost": 2
    }  # fmt: skip
    assert (tmp_path / "images/spoilt.jpg").read_bytes() == IMAGE


def test_a_ledger_cut_off_by_a_kill_is_read_and_goes_on(
    tmp_path: Path, shop: Shop, settings: Download
) -> None:
    items = [WantedImage(name, (shop.serve(name, whole()),)) for name in ("a", "b")]
    download(items[:1], tmp_path, settings)
    with (tmp_path / "ledger.jsonl").open("a") as file:
        file.write('{"id": "b", "url": "htt')
    download(items, tmp_path, settings)
    download(items, tmp_path, settings)
    assert (len(shop.seen["/a"]), len(shop.seen["/b"])) == (1, 1)


DOWNLOAD = """
import json, sys
from pathlib import Path
from tasks.data.download import WantedImage, download
from tasks.base.params import Download
items, folder, settings = sys.argv[1:]
items = [WantedImage(*item) for item in json.loads(items)]
download(items, Path(folder), Download.model_validate_json(settings))
"""


def test_a_killed_run_goes_on_where_it_stopped(
    tmp_path: Path, shop: Shop, settings: Download
) -> None:
    reached = threading.Event()

    def hold(handler: Handler) -> None:
        reached.set()
        handler.server.closing.wait()

    items = [WantedImage(f"{n}", (shop.serve(f"{n}", whole()),)) for n in range(12)]
    shop.serve("9", hold, whole())
    alone = settings.model_copy(update={"workers": 1, "timeout_s": 60})
    arguments = [json.dumps([(item.id, item.urls) for item in items]), str(tmp_path)]
    command = [sys.executable, "-c", DOWNLOAD, *arguments, alone.model_dump_json()]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL) as run:
        assert reached.wait(60)
        run.kill()
    assert download(items, tmp_path, alone) == {}
    # One worker has four items in hand: those before are in the ledger.
    assert [len(shop.seen[f"/{n}"]) for n in range(6)] == [1] * 6
    assert all((tmp_path / f"images/{n}.jpg").read_bytes() == IMAGE for n in range(12))


@pytest.mark.parametrize("answer", [status(500), status(503), status(429), cut()])
def test_a_passing_failure_is_tried_again(
    tmp_path: Path, shop: Shop, settings: Download, answer: Answer
) -> None:
    item = WantedImage("1", (shop.serve("1", answer, answer, whole()),))
    assert download([item], tmp_path, settings) == {}
    assert (tmp_path / "images/1.jpg").read_bytes() == IMAGE
    assert len(shop.seen["/1"]) == 3


@pytest.mark.parametrize(
    ("answer", "reason", "attempts"),
    [
        (status(500), "HTTP 500, 3 times", 3),
        (cut(), "the body was cut short, 3 times", 3),
        (status(404), "HTTP 404", 1),
        (whole(b"<html>sold out</html>"), "not an image", 1),
        (whole(b""), "not an image", 1),
    ],
)
def test_the_mirror_is_asked_where_the_shop_fails(
    tmp_path: Path, shop: Shop, settings: Download, answer: Answer, reason: str, attempts: int
) -> None:
    first, mirror = shop.serve("shop", answer), shop.serve("mirror", whole(OTHER))
    assert download([WantedImage("1", (first, mirror))], tmp_path, settings) == {}
    assert (tmp_path / "images/1.jpg").read_bytes() == OTHER
    assert [entry["url"] for entry in ledger(tmp_path)] == [mirror]
    assert len(shop.seen["/shop"]) == attempts
    failed = download([WantedImage("2", (first, first))], tmp_path, settings)
    assert failed == {"2": f"{first}: {reason}; {first}: {reason}"}
    assert json.loads((tmp_path / "failures.json").read_text()) == failed
    assert [path.name for path in (tmp_path / "images").glob("2*")] in ([], ["2.jpg.part"])


def test_a_stalled_server_is_left_after_the_timeout(
    tmp_path: Path, shop: Shop, settings: Download
) -> None:
    item = WantedImage("1", (shop.serve("1", stall, whole()),))
    impatient = settings.model_copy(update={"timeout_s": 0.2})
    assert download([item], tmp_path, impatient) == {}
    assert (tmp_path / "images/1.jpg").read_bytes() == IMAGE


def test_a_cut_body_goes_on_where_it_stopped(
    tmp_path: Path, shop: Shop, settings: Download
) -> None:
    url = shop.serve("1", cut(ETag='"v1"'), ranged(IMAGE, '"v1"'))
    once = settings.model_copy(update={"retries": 0})
    assert "1" in download([WantedImage("1", (url,))], tmp_path, once)
    part = (tmp_path / "images/1.jpg.part").stat().st_size
    assert 0 < part <= HALF
    assert download([WantedImage("1", (url,))], tmp_path, once) == {}
    assert [asked for _, asked in shop.seen["/1"]] == ["", f"bytes={part}-"]
    assert [path.name for path in (tmp_path / "images").iterdir()] == ["1.jpg"]
    assert (tmp_path / "images/1.jpg").read_bytes() == IMAGE


@pytest.mark.parametrize(
    "second",
    [
        pytest.param(ranged(OTHER, '"v2"'), id="the image changed"),
        pytest.param(whole(OTHER), id="the server knows no ranges"),
        pytest.param(status(416), id="the range is refused"),
        pytest.param(
            lambda handler: handler.reply(206, OTHER[7:], Content_Range="bytes 7-8/9"),
            id="the server sends another range",
        ),
    ],
)
def test_two_versions_are_never_joined(
    tmp_path: Path, shop: Shop, settings: Download, second: Answer
) -> None:
    url = shop.serve("1", cut(ETag='"v1"'), second, whole(OTHER))
    assert download([WantedImage("1", (url,))], tmp_path, settings) == {}
    assert (tmp_path / "images/1.jpg").read_bytes() == OTHER


def test_without_a_strong_tag_a_cut_body_starts_anew(
    tmp_path: Path, shop: Shop, settings: Download
) -> None:
    url = shop.serve("1", cut(ETag='W/"v1"'), whole())
    assert download([WantedImage("1", (url,))], tmp_path, settings) == {}
    assert [asked for _, asked in shop.seen["/1"]] == ["", ""]


def test_a_host_that_asks_for_patience_is_left_alone(
    tmp_path: Path, shop: Shop, settings: Download
) -> None:
    busy = shop.serve("busy", status(429, Retry_After="1"), whole())
    later = [WantedImage(f"{n}", (shop.serve(f"{n}", whole()),)) for n in range(3)]
    alone = settings.model_copy(update={"workers": 1})
    assert download([WantedImage("busy", (busy,)), *later], tmp_path, alone) == {}
    asked = [when for seen in shop.seen.values() for when, _ in seen]
    assert sorted(asked)[1] - min(asked) >= 1


def test_patience_has_an_end(tmp_path: Path, shop: Shop, settings: Download) -> None:
    url = shop.serve("1", status(503, Retry_After="Fri, 31 Dec 2100 23:59:59 GMT"), whole())
    impatient = settings.model_copy(update={"max_pause_s": 0.01})
    assert download([WantedImage("1", (url,))], tmp_path, impatient) == {}


def test_a_host_that_always_fails_is_given_up(
    tmp_path: Path, shop: Shop, settings: Download
) -> None:
    down = shop.serve("down", status(500))
    items = [WantedImage(f"{n}", (down,)) for n in range(30)]
    wary = settings.model_copy(update={"give_up_after": 2, "workers": 1})
    failures = download(items, tmp_path, wary)
    assert [*failures] == [item.id for item in items]
    assert failures["29"].endswith("the host failed 2 times in a row")
    assert len(shop.seen["/down"]) == 2 * 3


@pytest.mark.parametrize("url", ["", "ftp://a/1.jpg", "not a url", "http://[1/2.jpg", "http://"])
def test_an_address_that_is_none_fails_its_item_only(
    tmp_path: Path, shop: Shop, settings: Download, url: str
) -> None:
    good = shop.serve("good", whole())
    failures = download([WantedImage("1", (url,)), WantedImage("2", (good,))], tmp_path, settings)
    assert [*failures] == ["1"]
    assert "\n" not in failures["1"]


def test_no_more_than_the_limit_is_taken(tmp_path: Path, shop: Shop, settings: Download) -> None:
    url = shop.serve("1", whole())
    small = settings.model_copy(update={"max_bytes": 1000})
    assert download([WantedImage("1", (url,))], tmp_path, small) == {
        "1": f"{url}: more than 1,000 bytes"
    }
    assert [*(tmp_path / "images").iterdir()] == []
