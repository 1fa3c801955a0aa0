"""The page at `/` in a real Chromium, before a real service."""

import base64
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, Request, Route, expect, sync_playwright

from tasks.base.workspace import Workspace
from tests.support.served_catalogue import Service, Upload, service
from tests.support.tiny_model_bundle import BLANK, scene, write_photo
from unbundle.base.request_limits import Limits

ROOT = Path(__file__).parents[3]
PHONE = {"width": 390, "height": 844}
DESKTOP = {"width": 1280, "height": 900}
TITLE = "red cream 面霜 <b>serum</b>"

Opener = Callable[..., Page]


@pytest.fixture(scope="module")
def browser(request: pytest.FixtureRequest) -> Iterator[Browser]:
    program = shutil.which("chromium")
    if program is None:
        reason = "chromium is absent: apt-get install chromium"
        (pytest.fail if request.config.getoption("--require-browser") else pytest.skip)(reason)
    expect.set_options(timeout=20_000)
    with sync_playwright() as playwright:
        # A container has no name spaces for its sandbox, and little shared memory.
        arguments = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]
        started = playwright.chromium.launch(executable_path=program, args=arguments)
        yield started
        started.close()


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    write_photo(folder / "bundle.png", scene([3, 1, 5]))
    write_photo(folder / "blank.png", BLANK)
    (folder / "bundle.txt").write_text(TITLE, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def running(served: Workspace, photos: Path) -> Iterator[Service]:
    limits = Limits(body_bytes=20_000, workers=1, queue=0, caption=200, poll=60)
    with service(
        served.bundles, served.milvus, limits, images=served.catalogue, samples=photos
    ) as started:
        yield started


@pytest.fixture
def opened(browser: Browser, running: Service) -> Iterator[Opener]:
    """Open the page; whatever it asks another host for, or throws, fails the test."""
    faults: list[str] = []
    with ExitStack() as stack:

        def guard(request: Request) -> None:
            if not request.url.startswith((f"{running.url}/", "blob:")):
                faults.append(f"asked {request.url}")

        def open_page(url: str = running.url, **options: Any) -> Page:
            # Animations take what the shared machine has.
            usual = {"viewport": DESKTOP, "reduced_motion": "reduce"}
            context = browser.new_context(**usual | options)
            stack.callback(context.close)
            context.set_default_timeout(20_000)
            page = context.new_page()
            if url == running.url:
                page.on("request", guard)
            page.on("pageerror", lambda error: faults.append(str(error)))
            page.on(
                "console",
                lambda line: faults.append(line.text) if "Content Security" in line.text else None,
            )
            page.goto(url)
            return page

        yield open_page
    assert not faults


def show(page: Page, photo: Path, title: str = "") -> None:
    """Choose a photo, and wait for its parts."""
    page.get_by_label("Title", exact=True).fill(title)
    page.locator("#file").set_input_files(photo)
    expect(page.locator(".part")).not_to_have_count(0)


def hand(
    page: Page, kind: str, content: bytes, name: str = "p.png", mime: str = "image/png"
) -> None:
    """Drop or paste a file."""
    page.evaluate(
        """([kind, text, name, type]) => {
            const data = new DataTransfer();
            const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
            data.items.add(new File([bytes], name, { type }));
            const options = { bubbles: true, cancelable: true };
            document.body.dispatchEvent(kind === "paste"
                ? new ClipboardEvent(kind, { ...options, clipboardData: data })
                : new DragEvent(kind, { ...options, dataTransfer: data }));
        }""",
        [kind, base64.b64encode(content).decode(), name, mime],
    )


def drag(page: Page, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Drag over the photo; places are shares of its sides."""
    area = page.locator("#stage").bounding_box()
    assert area is not None
    places = [
        (area["x"] + x * area["width"], area["y"] + y * area["height"]) for x, y in (start, end)
    ]
    page.mouse.move(*places[0])
    page.mouse.down()
    page.mouse.move(*places[1], steps=4)
    page.mouse.up()


@pytest.mark.parametrize("way", ["drop", "paste", "choose"])
def test_a_photo_is_taken_in(opened: Opener, photos: Path, way: str) -> None:
    page = opened()
    photo = photos / "bundle.png"
    if way == "choose":
        with page.expect_file_chooser() as chooser:
            page.get_by_role("button", name="Choose a photo").click()
        chooser.value.set_files(photo)
    else:
        if way == "drop":
            hand(page, "dragover", photo.read_bytes())
            expect(page.get_by_text("Drop the photo", exact=True)).to_be_visible()
        hand(page, way, photo.read_bytes())
    expect(page.get_by_role("heading", name="3 products in this photo")).to_be_visible()
    expect(page.locator(".frame")).to_have_count(3)
    expect(page.locator("#veil")).to_be_hidden()
    expect(page.get_by_role("status")).to_contain_text("3 products in this photo")


def test_a_sample_brings_its_title_and_a_click_on_a_box_its_hits(opened: Opener) -> None:
    page = opened()
    page.get_by_role("button", name=f"Sample: {TITLE}").click()
    expect(page.get_by_label("Title", exact=True)).to_have_value(TITLE)
    expect(page.locator(".read")).to_have_text(TITLE)  # as text, whatever it holds
    box = page.get_by_role("button", name="Product 2: product-")
    expect(page.locator(".hits")).to_have_count(0)
    box.click()
    expect(box).to_have_attribute("aria-pressed", "true")
    part = page.locator(".part").nth(1)
    head = part.get_by_role("button", expanded=True)
    name = box.get_attribute("aria-label") or ""
    expect(head).to_contain_text(name.removeprefix("Product 2: "))
    best = part.locator(".hit").first
    expect(best).to_contain_text(name.removeprefix("Product 2: "))
    expect(best).to_contain_text("score")
    expect(best.get_by_text("brand", exact=True)).to_be_visible()
    expect(best.locator("img")).not_to_have_js_property("naturalWidth", 0)
    expect(part.locator(".hit")).to_have_count(4)
    part.get_by_role("button", name="Show 2 more").click()
    expect(part.locator(".hit")).to_have_count(6)


def refuse_first(page: Page, pattern: str, seconds: int = 1) -> list[str]:
    """Answer the first request for each address as a busy service does; all that was asked."""
    asked: list[str] = []

    def answer(route: Route) -> None:
        asked.append(route.request.url)
        if asked.count(route.request.url) == 1:
            route.fulfill(status=503, headers={"Retry-After": str(seconds)})
        else:
            route.continue_()

    page.route(pattern, answer)
    return asked


def test_a_picture_that_a_busy_service_refused_is_asked_for_again(
    opened: Opener, photos: Path
) -> None:
    page = opened()
    asked = refuse_first(page, "**/products/*/image*")
    show(page, photos / "bundle.png")
    thumb = page.locator(".part img").first
    expect(thumb).not_to_have_js_property("naturalWidth", 0)
    assert asked.count(asked[0]) > 1
    expect(page.locator(".thumb.missing")).to_have_count(0)


def test_a_picture_whose_connection_broke_is_asked_for_again(opened: Opener, photos: Path) -> None:
    page = opened()
    broken: list[str] = []

    def answer(route: Route) -> None:
        if broken.count(route.request.url) < 2:
            broken.append(route.request.url)
            route.abort()
        else:
            route.continue_()

    page.route("**/products/*/image*", answer)
    show(page, photos / "bundle.png")
    expect(page.locator(".part img").first).not_to_have_js_property("naturalWidth", 0)
    assert len(broken) > 1
    expect(page.locator(".thumb.missing")).to_have_count(0)


def test_a_sample_that_a_busy_service_refused_is_asked_for_again(opened: Opener) -> None:
    page = opened()
    # Long enough that the notice is seen on a machine that is busy itself.
    asked = refuse_first(page, "**/samples/bundle.png", seconds=3)
    page.get_by_role("button", name=f"Sample: {TITLE}").click()
    expect(page.locator(".busy")).to_contain_text("Trying again in")
    expect(page.get_by_label("Title", exact=True)).to_have_value(TITLE)
    expect(page.locator(".part")).to_have_count(3)
    assert len(asked) == 2


def test_filters_and_samples_that_a_busy_service_refused_are_asked_for_again(
    opened: Opener,
) -> None:
    page = opened()
    columns, samples = refuse_first(page, "**/columns"), refuse_first(page, "**/samples")
    page.reload()
    expect(page.get_by_role("button", name=f"Sample: {TITLE}")).to_be_visible()
    expect(page.locator("#filters")).to_be_visible()
    assert len(columns) == len(samples) == 2


def test_the_title_shows_whose_its_words_are(opened: Opener, photos: Path) -> None:
    page = opened()
    answer: list[Any] = []
    page.on("response", lambda sent: answer.append(sent) if "search" in sent.url else None)
    show(page, photos / "bundle.png", "red cream serum lipstick 面霜 口红 green blue")
    instances = answer[0].json()["instances"]
    shown = "".join(page.locator(".read mark").all_text_contents()).replace(" ", "")
    owned = {word for instance in instances for word in instance["words"]}
    assert owned
    assert all(word in shown for word in owned)
    for place, instance in enumerate(instances):
        own = page.locator(".part").nth(place).locator(".own")
        expect(own).to_have_count(1 if instance["words"] else 0)


def test_the_keyboard_walks_boxes_and_parts(opened: Opener, photos: Path) -> None:
    page = opened()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the results")).to_be_focused()
    show(page, photos / "bundle.png")
    frames, heads = page.locator(".frame"), page.locator(".part-head")
    frames.first.focus()
    page.keyboard.press("Enter")
    expect(heads.first).to_have_attribute("aria-expanded", "true")
    page.keyboard.press("ArrowRight")
    expect(frames.nth(1)).to_be_focused()
    expect(heads.nth(1)).to_have_attribute("aria-expanded", "true")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    expect(frames.nth(2)).to_be_focused()
    heads.first.focus()
    page.keyboard.press("ArrowDown")
    expect(heads.nth(1)).to_be_focused()
    page.keyboard.press("Enter")
    expect(frames.nth(1)).to_have_attribute("aria-pressed", "true")
    frames.nth(1).focus()
    page.keyboard.press("Delete")
    expect(frames).to_have_count(2)
    expect(frames.nth(1)).to_be_focused()
    page.get_by_role("button", name="Detect again").click()
    expect(frames).to_have_count(3)


def test_a_box_is_drawn_with_the_pointer(opened: Opener, photos: Path) -> None:
    page = opened()
    show(page, photos / "bundle.png")
    page.get_by_role("button", name="Draw a box").click()
    drag(page, (0.52, 0.52), (0.98, 0.98))
    expect(page.locator(".frame")).to_have_count(4)
    expect(page.locator(".frame").nth(3)).to_have_attribute("aria-pressed", "true")
    expect(page.locator(".part").nth(3).locator(".hits")).to_be_visible()
    # A mouse may draw at once where no box is in the way; a click draws nothing.
    page.get_by_role("button", name="Detect again").click()
    expect(page.locator(".frame")).to_have_count(3)
    drag(page, (0.8, 0.8), (0.801, 0.801))
    drag(page, (0.55, 0.6), (0.95, 0.95))
    expect(page.locator(".frame")).to_have_count(4)


def test_a_box_is_drawn_with_the_keyboard(opened: Opener, photos: Path) -> None:
    page = opened()
    show(page, photos / "bundle.png")
    draw = page.get_by_role("button", name="Draw a box")
    draw.press("Enter")
    expect(page.get_by_label("New box")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.get_by_label("New box")).to_have_count(0)
    expect(draw).to_be_focused()
    draw.press("Enter")
    for key in ["ArrowRight"] * 40 + ["ArrowDown", "Shift+ArrowUp", "Enter"]:
        page.keyboard.press(key)
    expect(page.locator(".frame")).to_have_count(4)
    # 64 pixels, a step of 1.28: to the right edge, one step down, one step shorter.
    measure = "({ style }) => ['left', 'top', 'width', 'height'].map((at) => parseFloat(style[at]))"
    laid = page.locator(".frame").nth(3).evaluate(measure)
    assert laid == pytest.approx([60, 32, 40, 38], abs=0.1)


def test_filters_are_offered_and_kept_to(opened: Opener, photos: Path) -> None:
    page = opened()
    show(page, photos / "bundle.png")
    page.get_by_text("Filters", exact=True).click()
    brand = page.get_by_label("brand, add a value")
    expect(page.locator("#known-1 option")).to_have_count(2)  # what answers had
    brand.fill("brand-0")
    brand.press("Enter")
    page.get_by_label("price, from").fill("12")
    page.get_by_label("price, from").press("Tab")
    expect(page.locator("#filter-count")).to_have_text("2")
    page.locator(".part-head").first.click()
    names = page.locator(".part").first.locator(".hit-name")
    expect(names).to_have_count(2)
    assert sorted(names.all_text_contents()) == ["product-2", "product-4"]
    page.get_by_label("price, to").fill("12")
    page.get_by_label("price, to").press("Enter")
    expect(names).to_have_count(1)
    brand.fill("nobody")
    brand.press("Enter")
    page.get_by_role("button", name="Remove brand brand-0").click()
    expect(page.get_by_text("Nothing passes the filters")).to_be_visible()
    page.get_by_role("button", name="Clear the filters").click()
    expect(page.locator("#filter-count")).to_be_hidden()
    least = page.get_by_label("Least score")
    least.fill("1")
    least.press("Tab")
    expect(page.get_by_text("Nothing passes the filters")).to_be_visible()


def test_a_bundles_price_is_compared_with_its_parts(opened: Opener, photos: Path) -> None:
    page = opened()
    page.get_by_label("Bundle price").fill("30.5")
    show(page, photos / "bundle.png")
    prices = page.get_by_role("region", name="Prices")
    expect(prices).to_contain_text("3 parts alone")
    expect(prices).to_contain_text("39.00")  # products 3, 1 and 5 of 10 and their number
    expect(prices).to_contain_text("Saved, 22 %")
    expect(prices).to_contain_text("8.50")
    page.get_by_label("Bundle price").fill("50")
    page.get_by_role("button", name="Find the products").click()
    expect(prices).to_contain_text("Dearer, 28 %")


def test_what_the_catalogue_lacks_is_told_and_has_no_price(opened: Opener, photos: Path) -> None:
    page = opened()
    page.get_by_label("Bundle price").fill("30")
    show(page, photos / "bundle.png")
    page.get_by_role("button", name="Draw a box").click()
    drag(page, (0.52, 0.52), (0.98, 0.98))  # nothing is there
    part = page.locator(".part").nth(3)
    expect(part.get_by_role("button", expanded=True)).to_contain_text("Not in the catalogue")
    expect(part).to_contain_text("This comes nearest")
    expect(page.get_by_text("3 in the catalogue, 1 not.")).to_be_visible()
    expect(page.locator(".frame").nth(3)).to_have_accessible_name("Product 4: Not in the catalogue")
    prices = page.get_by_role("region", name="Prices")
    expect(prices).to_contain_text("so what is saved cannot be told")
    expect(prices.get_by_role("button", name="product 4")).to_be_visible()


def test_a_photo_in_which_nothing_is_seen_is_searched_whole(opened: Opener, photos: Path) -> None:
    page = opened()
    show(page, photos / "blank.png")
    expect(page.get_by_role("heading", name="No single product stood out")).to_be_visible()
    expect(page.get_by_text("Draw a box around a product")).to_be_visible()


def test_a_title_alone_is_answered(opened: Opener) -> None:
    page = opened()
    page.get_by_label("Title", exact=True).fill("red cream")
    page.get_by_label("Title", exact=True).press("Enter")
    expect(page.get_by_role("heading", name="What the title alone finds")).to_be_visible()
    expect(page.locator(".hit").first).to_be_visible()
    page.get_by_role("button", name="New search").click()
    expect(page.get_by_role("heading", name="What is in the bundle?")).to_be_visible()
    page.get_by_role("button", name="Find the products").click()
    expect(page.get_by_role("alert")).to_contain_text("Give a photo, a title or both.")


def test_refusals_say_what_to_do(opened: Opener, photos: Path) -> None:
    page = opened()
    alert = page.get_by_role("alert")
    hand(page, "drop", b"no photo", "p.txt", "text/plain")
    expect(alert).to_contain_text("give a JPEG, PNG or WebP")  # 422
    hand(page, "drop", bytes(25_000))
    expect(alert).to_contain_text("more than 20,000 bytes; send a smaller photo")  # 413
    show(page, photos / "bundle.png")
    expect(alert).to_have_count(0)
    problem = {"title": "Not like this", "detail": "send a form", "status": 415}
    page.route("**/search", lambda route: route.fulfill(status=415, json=problem))
    page.get_by_role("button", name="Find the products").click()
    expect(alert).to_contain_text("send a form")
    page.unroute("**/search")
    alert.get_by_role("button", name="Try again").click()
    expect(page.locator(".part")).to_have_count(3)


def test_a_busy_service_is_asked_again_after_a_countdown(
    opened: Opener, running: Service, photos: Path
) -> None:
    page = opened()
    with closing(Upload(running.port)) as upload:
        page.locator("#file").set_input_files(photos / "bundle.png")
        expect(page.locator(".busy")).to_contain_text("All workers are busy")
        expect(page.get_by_text("Trying again in 1 s", exact=True)).to_be_visible()
        expect(page.get_by_role("status")).to_contain_text("Trying again in 1 seconds")
        assert upload.send() == 200
    expect(page.locator(".part")).to_have_count(3)
    expect(page.locator(".busy")).to_have_count(0)


def test_waiting_for_a_busy_service_counts_down_and_ends_when_cancelled(
    opened: Opener, photos: Path
) -> None:
    page = opened()
    busy = {"title": "All workers are busy", "status": 503}
    later = {"Retry-After": "30"}
    page.route("**/search", lambda route: route.fulfill(status=503, json=busy, headers=later))
    page.locator("#file").set_input_files(photos / "bundle.png")
    for left in (30, 29):
        expect(page.get_by_text(f"Trying again in {left} s", exact=True)).to_be_visible()
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator(".busy")).to_have_count(0)
    expect(page.get_by_role("button", name="Find the products")).to_be_focused()


def test_a_service_that_is_gone_is_told(opened: Opener, served: Workspace, photos: Path) -> None:
    with service(served.bundles, served.milvus, Limits(poll=60)) as other:
        page = opened(other.url)
        # It has no pictures: their places stay.
        show(page, photos / "bundle.png")
        expect(page.locator(".thumb.missing")).to_have_count(3)
        page.route("**/search", lambda route: route.abort("connectionrefused"))
        page.get_by_role("button", name="Find the products").click()
        expect(page.get_by_role("alert")).to_contain_text("The service does not answer")
        expect(page.get_by_role("alert").get_by_role("button")).to_have_text("Try again")


def test_a_product_links_to_its_own_page_if_that_is_a_web_address(
    opened: Opener, running: Service
) -> None:
    page = opened()
    answer = running.client.post("/search", json={"caption": "red cream"}).json()
    urls = ["https://shop.example/1", "javascript:alert(1)", "<img src=x onerror=alert(1)>"]
    for hit, url in zip(answer["instances"][0]["hits"], urls, strict=False):
        hit["fields"]["url"] = hit["caption"] = url
    page.route("**/search", lambda route: route.fulfill(json=answer))
    page.get_by_label("Title", exact=True).fill("red cream")
    page.get_by_label("Title", exact=True).press("Enter")
    links = page.locator(".hit a")
    expect(links).to_have_count(1)
    expect(links).to_have_attribute("href", "https://shop.example/1")
    expect(links).to_have_attribute("rel", "noopener noreferrer")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_everything_can_be_read_reached_and_named(
    opened: Opener, photos: Path, scheme: str, viewport: dict[str, int]
) -> None:
    page = opened(viewport=viewport, color_scheme=scheme)
    check(page)
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (paper == "rgb(18, 20, 23)") == (scheme == "dark")
    page.get_by_label("Bundle price").fill("30")
    page.get_by_text("Filters", exact=True).click()
    show(page, photos / "bundle.png", "red cream serum " + "W" * 80)
    page.locator(".part-head").first.click()
    expect(page.locator(".hit").first).to_be_visible()
    check(page)
    hand(page, "drop", b"no photo", "p.txt", "text/plain")
    expect(page.get_by_role("alert")).to_be_visible()
    check(page)


def check(page: Page) -> None:
    """No sideways scrolling, every control named, no id twice, text of contrast 4.5 (WCAG AA)."""
    page.evaluate("document.fonts.ready")
    found = page.evaluate(
        """() => {
            const faults = [];
            const width = document.documentElement.scrollWidth;
            if (width > innerWidth) faults.push(`scrolls sideways: ${width} > ${innerWidth}`);
            const ids = [...document.querySelectorAll("[id]")].map((node) => node.id);
            if (new Set(ids).size < ids.length) faults.push("an id twice");
            for (const image of document.images) {
                if (!image.hasAttribute("alt")) faults.push(`no alt: ${image.src}`);
            }
            const shown = (node) => node.checkVisibility({ visibilityProperty: true });
            for (const node of document.querySelectorAll("button, a, input, textarea, summary")) {
                if (!shown(node)) continue;
                const named = node.getAttribute("aria-label") || node.labels?.length
                    || node.textContent.trim();
                if (!named) faults.push(`no name: ${node.outerHTML}`);
                const { width, height } = node.getBoundingClientRect();
                if (Math.min(width, height) < 24) faults.push(`small: ${node.outerHTML}`);
            }
            const pen = document.createElement("canvas").getContext("2d",
                { willReadFrequently: true });
            const rgba = (colour) => {
                pen.clearRect(0, 0, 1, 1);
                pen.fillStyle = colour;
                pen.fillRect(0, 0, 1, 1);
                return pen.getImageData(0, 0, 1, 1).data;
            };
            const light = (colour) => [0.2126, 0.7152, 0.0722].reduce((sum, share, at) => {
                const part = rgba(colour)[at] / 255;
                return sum + share * (part <= 0.04045 ? part / 12.92
                    : ((part + 0.055) / 1.055) ** 2.4);
            }, 0);
            const behind = (node) => {
                for (let at = node; at; at = at.parentElement) {
                    const colour = getComputedStyle(at).backgroundColor;
                    if (rgba(colour)[3] === 255) return colour;
                }
                return "white";
            };
            const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
            while (walker.nextNode()) {
                const node = walker.currentNode.parentElement;
                if (!walker.currentNode.textContent.trim() || !shown(node)) continue;
                const pair = [light(getComputedStyle(node).color), light(behind(node))];
                const ratio = (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
                if (ratio < 4.5) faults.push(`contrast ${ratio.toFixed(1)}: ${node.outerHTML}`);
            }
            return faults;
        }"""
    )
    assert found == []


def test_the_page_is_drawn_for_the_documentation(
    browser: Browser, pytestconfig: pytest.Config
) -> None:
    folder = pytestconfig.getoption("--screenshots")
    if folder is None:
        pytest.skip("pictures are drawn with --screenshots docs, after `make demo`")
    demo = Workspace(ROOT)
    limits = Limits(poll=60)
    samples = ROOT / "data/samples"
    with service(demo.bundles, demo.milvus, limits, images=demo.catalogue, samples=samples) as shop:
        for name, scheme, viewport, part in (
            ("light", "light", {"width": 1280, "height": 1060}, 1),
            ("dark", "dark", {"width": 1280, "height": 800}, None),
            ("phone", "light", PHONE, None),
        ):
            context = browser.new_context(
                viewport=viewport, color_scheme=scheme, device_scale_factor=1.5
            )
            with closing(context):
                page = context.new_page()
                page.goto(shop.url)
                page.get_by_label("Bundle price").fill("349")
                page.locator(".sample").first.click()
                expect(page.locator(".part")).not_to_have_count(0)
                if part is not None:
                    page.locator(".frame").nth(part).click()
                page.mouse.move(0, 0)
                page.wait_for_load_state("networkidle")
                path = folder / f"page-{name}.png"
                page.screenshot(path=path, full_page=name == "phone")
            # A palette: a third of the size.
            with Image.open(path) as image:
                image.convert("RGB").quantize(256, kmeans=4).save(path, optimize=True)
            assert path.stat().st_size < 300_000
