"""The routes that the page needs: itself, pictures, samples, columns."""

import io
import re
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from tasks.base.workspace import Workspace
from tests.support.served_catalogue import Service, service
from tests.support.tiny_model_bundle import product, scene, write_photo
from unbundle.base.errors import UserError
from unbundle.base.request_limits import Limits
from unbundle.http.app import create_app
from unbundle.http.page_routes import MOST_SAMPLES, read_samples
from unbundle.http.served_champion import LiveChampion
from unbundle.http.thumbnails import find_photo, thumbnail
from unbundle.recording.query_log import Recorder, Recording
from unbundle.terminal.answer_picture import COLOURS

PAGE = files("unbundle.http") / "page"


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("samples")
    for number in range(2):
        write_photo(folder / f"bundle {number}.png", scene([number, number + 1], 640))
    (folder / "bundle 0.txt").write_text("red cream 面霜\n", encoding="utf-8")
    (folder / "notes.md").write_text("no photo", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def running(served: Workspace, samples: Path) -> Iterator[Service]:
    limits = Limits(poll=60)
    with service(
        served.bundles, served.milvus, limits, images=served.catalogue, samples=samples
    ) as started:
        yield started


def picture(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content))


def test_every_part_of_the_page_is_served_and_kept_until_it_changes(running: Service) -> None:
    names = [part.name for part in PAGE.iterdir()]
    html = running.client.get("/").text
    for name in ("", *(f"page/{name}" for name in names)):
        answer = running.client.get(f"/{name}")
        assert answer.status_code == 200
        assert answer.headers["cache-control"] == "no-cache"
        assert "default-src 'self'" in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        tags = {"if-none-match": f'"other", W/{answer.headers["etag"]}'}
        again = running.client.get(f"/{name}", headers=tags)
        assert (again.status_code, again.content) == (304, b"")
        assert running.client.head(f"/{name}").status_code == 200
    assert all(f"page/{name}" in html for name in names if name != "index.html")
    assert running.client.get("/page/page.js").headers["content-type"].startswith("text/javascript")
    assert running.client.get("/page/none.js").status_code == 404


def test_the_page_has_nothing_inline_and_names_no_other_host() -> None:
    html = (PAGE / "index.html").read_text(encoding="utf-8")
    assert not re.search(r"<style|\sstyle=|\son[a-z]+=|<script(?![^>]*\ssrc=)", html)
    for part in PAGE.iterdir():
        text = part.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?://|innerHTML|insertAdjacentHTML", text), part.name


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (None, "go to this service only, and are not kept."),
        (False, "are not kept; their measures and what it found are, for 9 days at most."),
        (True, "which keeps them and what it found for 9 days at most."),
    ],
)
def test_the_page_says_what_is_kept(
    served: Workspace, tmp_path: Path, content: bool | None, text: str
) -> None:
    recorder = None
    if content is not None:
        recorder = Recorder(Recording(tmp_path, content, max_days=9))
    app = create_app(LiveChampion(served.bundles), Limits(), recorder=recorder)
    page = TestClient(app, base_url="http://localhost").get("/").text
    (said,) = re.findall(r"<footer>\s*<p>(.*?)</p>", page)
    assert said.endswith(text)
    assert "{" not in page


def test_boxes_have_the_colours_of_the_pictures() -> None:
    css = (PAGE / "page.css").read_text(encoding="utf-8")
    assert tuple(re.findall(r"--tone-\d: (#[0-9a-f]{6});", css)) == COLOURS


def test_a_product_has_a_picture_of_the_size_asked_for(running: Service) -> None:
    answer = running.client.get("/products/g3-0/image", params={"side": 48})
    assert answer.headers["content-type"] == "image/jpeg"
    assert picture(answer.content).size == (48, 48)
    tag = {"if-none-match": answer.headers["etag"]}
    params = {"side": 48}
    assert running.client.get("/products/g3-0/image", params=params, headers=tag).status_code == 304
    # Never enlarged.
    assert picture(running.client.get("/products/g3-0/image").content).size == (64, 64)


@pytest.mark.parametrize("side", [0, 31, 1025, "large"])
def test_a_picture_has_bounds(running: Service, side: object) -> None:
    answer = running.client.get("/products/g3-0/image", params={"side": str(side)})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "query.side"


def test_what_has_no_picture_is_told(running: Service, served: Workspace) -> None:
    assert running.client.get("/products/nobody/image").status_code == 404
    with service(served.bundles, served.milvus, Limits(poll=60)) as bare:
        answer = bare.client.get("/products/g3-0/image")
        assert answer.json()["type"] == "urn:unbundle:problem:not-found"
        assert bare.client.get("/samples").json() == []
        assert bare.client.get("/samples/bundle 0.png").status_code == 404


def test_a_stored_path_never_leaves_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "catalogue"
    inside = write_photo(folder / "images/a.png", product(1))
    outside = write_photo(tmp_path / "secret.png", product(2))
    assert find_photo(folder, "images/a.png") == inside
    for path in (
        "../secret.png",
        "images/../../secret.png",
        str(outside),
        f"/{outside}",
        "images",
        "",
        "images/b.png",
        "images/a.png\0.txt",
    ):
        assert find_photo(folder, path) is None, path


def test_links_lead_nowhere_but_to_folders_that_were_named(tmp_path: Path) -> None:
    folder, cache = tmp_path / "catalogue", tmp_path / "cache"
    inside = write_photo(folder / "images/a.png", product(1))
    cached = write_photo(cache / "files/b.png", product(2))
    outside = write_photo(tmp_path / "cache-of-others/c.png", product(3))
    targets = {"a": inside, "b": cached, "c": outside, "root": Path("/"), "loop": folder / "loop"}
    for name, target in targets.items():
        (folder / name).symlink_to(target)
    paths = ("a", "b", "c", f"root/{outside}", f"root{cached}", "loop", "loop/a.png", "root")
    found = {path: find_photo(folder, path) for path in paths}
    assert {path for path, file in found.items() if file} == {"a"}
    assert found["a"] == inside.resolve()
    found = {path: find_photo(folder, path, [cache]) for path in paths}
    assert {path for path, file in found.items() if file} == {"a", "b", f"root{cached}"}
    # The folder itself may be a link.
    (tmp_path / "link").symlink_to(folder)
    assert find_photo(tmp_path / "link", "images/a.png") == inside.resolve()


@pytest.mark.parametrize("form", ["GIF", "TIFF", "BMP"])
def test_pictures_have_the_kinds_of_uploads(tmp_path: Path, form: str) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(product(1)).save(path, form)
    with pytest.raises(UserError, match="not a readable image"):
        thumbnail(path, 40, 10_000)


def test_a_picture_over_a_link_is_not_served(served: Workspace, tmp_path: Path) -> None:
    folder = tmp_path / "catalogue"
    folder.mkdir()
    (folder / "images").symlink_to(served.catalogue / "images")
    (folder / "sample.png").symlink_to(served.catalogue / "images/q.png")
    limits = Limits(poll=60)
    with service(served.bundles, served.milvus, limits, images=folder, samples=folder) as running:
        for path in ("/products/g3-0/image", "/samples/sample.png"):
            answer = running.client.get(path)
            assert answer.json()["type"] == "urn:unbundle:problem:not-found", path
    with service(
        served.bundles,
        served.milvus,
        limits,
        images=folder,
        samples=folder,
        image_roots=[served.catalogue],
    ) as running:
        for path in ("/products/g3-0/image", "/samples/sample.png"):
            assert running.client.get(path).status_code == 200, path


def test_a_thumbnail_is_upright_opaque_and_bounded(tmp_path: Path) -> None:
    wide = np.zeros((40, 80, 3), np.uint8)
    wide[:, :40] = 255
    turned = tmp_path / "turned.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter to the right
    Image.fromarray(wide).save(turned, exif=exif)
    upright = picture(thumbnail(turned, 40, 10_000))
    assert upright.size == (20, 40)
    assert upright.convert("L").getpixel((10, 5)) > 200  # type: ignore[operator]
    clear = tmp_path / "clear.png"
    Image.new("RGBA", (40, 40)).save(clear)
    assert picture(thumbnail(clear, 40, 10_000)).getpixel((20, 20)) == (255, 255, 255)
    text = tmp_path / "text.jpg"
    text.write_text("no image", encoding="utf-8")
    for path, pixels in ((text, 10_000), (turned, 3199)):
        with pytest.raises(UserError, match=r"not a readable image|more than 3,199 pixels"):
            thumbnail(path, 40, pixels)


def test_samples_are_listed_with_their_titles(running: Service, samples: Path) -> None:
    assert running.client.get("/samples").json() == [
        {"name": "bundle 0.png", "title": "red cream 面霜"},
        {"name": "bundle 1.png", "title": ""},
    ]
    whole = running.client.get("/samples/bundle 0.png")
    assert whole.content == (samples / "bundle 0.png").read_bytes()
    assert whole.headers["content-type"] == "image/png"
    small = running.client.get("/samples/bundle 0.png", params={"side": 100})
    assert picture(small.content).size == (100, 100)
    for other in ("bundle 0.txt", "notes.md", "..%2fsamples%2fnotes.md"):
        assert running.client.get(f"/samples/{other}").status_code == 404


def test_a_folder_gives_a_handful_of_samples(tmp_path: Path) -> None:
    for number in range(MOST_SAMPLES + 2):
        write_photo(tmp_path / f"{number:02}.png", product(number))
    assert list(read_samples(tmp_path)) == [f"{number:02}.png" for number in range(MOST_SAMPLES)]
    (tmp_path / "03.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match=r"03\.txt: not UTF-8"):
        read_samples(tmp_path)


def test_the_columns_to_filter_by_are_told(running: Service) -> None:
    assert running.client.get("/columns").json() == [
        {"name": "price", "kind": "number"},
        {"name": "brand", "kind": "text"},
    ]
