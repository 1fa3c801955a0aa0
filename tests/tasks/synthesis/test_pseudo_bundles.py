import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.base.params import PseudoBundles, load_params
from tasks.synthesis import collages_of_whole_photos as collages
from tasks.synthesis import pasting, pseudo_bundles
from tasks.synthesis.cutouts import Cutout
from tasks.synthesis.pasting import transform
from tasks.synthesis.products_to_paste import Sprite, draw_shape, sprite_of
from tasks.synthesis.pseudo_bundle_material import Material
from tasks.synthesis.pseudo_bundles import MAX_HELD, compose
from unbundle.vision.imaging import PADDING, Photo

CHANCES = "distractors badges collage single tiles drawn flat_lays repeats shelves open_boxes hands"
QUIET: dict[str, object] = dict.fromkeys(CHANCES.split(), 0.0)
DISTURBANCES = {
    pseudo_bundles: ("COLOUR", "BLUR", "NOISE", "JPEG"),
    pasting: ("COLOUR", "STRETCH", "SHADOWS", "STICKERS"),
}
SIDE = 96


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Products and pictures stay as they are; with `QUIET` nothing else is in them."""
    for module, names in DISTURBANCES.items():
        for name in names:
            monkeypatch.setattr(module, name, 0.0)
    return monkeypatch


def params(**changes: object) -> PseudoBundles:
    return load_params().detect.pseudo_bundles.model_copy(update=changes)


def photo(colour: tuple[int, int, int], box: tuple[int, int, int, int]) -> Photo:
    pixels = np.full((64, 64, 3), 250, np.uint8)
    x0, y0, x1, y1 = box
    pixels[y0:y1, x0:x1] = colour
    return pixels


def material(cutouts: int = 3, photos: int = 2) -> Material:
    random = np.random.default_rng(0)
    known = []
    for place in range(cutouts):
        box = (10, 5, 40 + place, 60)
        alpha = np.zeros((64, 64), np.uint8)
        alpha[box[1] : box[3], box[0] : box[2]] = 255
        known.append(Cutout(photo((200, 20 * place, 40), box), alpha, box, "flood"))
    unknown = [photo((20, 90, 200), (0, 0, 64, 50)) for _ in range(photos)]
    return Material(
        cutouts=known,
        sprites=[sprite_of(cutout) for cutout in known],
        drawn=[draw_shape(unknown, 48, random) for _ in range(6)],
        photos=unknown,
        rooms=unknown,
    )


@given(st.integers(0, 10**6))
@settings(deadline=None, max_examples=40)
def test_every_bundle_is_a_picture_with_boxes_inside_it(seed: int) -> None:
    bundle = compose(material(), SIDE, params(), np.random.default_rng(seed))
    assert bundle.image.shape == (SIDE, SIDE, 3)
    assert bundle.image.dtype == np.uint8
    assert bundle.boxes.dtype == np.float32
    assert bundle.boxes.shape[1] == 4
    assert (bundle.boxes[:, 2:] > bundle.boxes[:, :2]).all()
    assert bundle.boxes.min(initial=0) >= 0
    assert bundle.boxes.max(initial=0) <= SIDE


@given(st.integers(0, 10**6))
@settings(deadline=None, max_examples=10)
def test_the_same_seed_gives_the_same_bundle(seed: int) -> None:
    first, second = (
        compose(material(), SIDE, params(), np.random.default_rng(seed)) for _ in range(2)
    )
    assert np.array_equal(first.image, second.image)
    assert np.array_equal(first.boxes, second.boxes)


def test_a_box_is_the_extent_of_what_was_pasted(quiet: pytest.MonkeyPatch) -> None:
    quiet.setattr(pseudo_bundles, "ROTATION", 0.0)
    red = Sprite(np.full((30, 20, 3), (255, 0, 0), np.uint8), np.full((30, 20), 255, np.uint8))
    only = Material([], [red], [red], [], [])
    plain = params(**QUIET, max_products=1)
    close = 0
    for seed in range(40):
        bundle = compose(only, SIDE, plain, np.random.default_rng(seed))
        pixels = bundle.image.astype(int)
        is_red = (pixels[..., 0] > 250) & (pixels[..., 1:].max(axis=2) < 5)
        rows, columns = np.nonzero(is_red)
        if len(bundle.boxes) and len(rows):
            seen = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            close += np.abs(bundle.boxes[0] - seen).max() <= 2
    # Backgrounds that happen to be red, and products that reach over the border, may differ.
    assert close >= 35


def test_hidden_products_have_no_box(quiet: pytest.MonkeyPatch) -> None:
    heaps = params(**QUIET, max_products=6)
    quiet.setattr(pseudo_bundles, "MAX_OVERLAP", 1.0)
    quiet.setattr(pseudo_bundles, "OVERLAPS", 1.0)
    quiet.setattr(pseudo_bundles, "MIN_VISIBLE", 0.99)
    strict = sum(len(bundle(heaps, seed)) for seed in range(30))
    quiet.setattr(pseudo_bundles, "MIN_VISIBLE", 0.0)
    lenient = sum(len(bundle(heaps, seed)) for seed in range(30))
    assert 0 < strict < lenient


def bundle(settings: PseudoBundles, seed: int) -> np.ndarray:
    return compose(material(), SIDE, settings, np.random.default_rng(seed)).boxes


def test_a_collage_tile_of_an_unknown_product_is_the_product(quiet: pytest.MonkeyPatch) -> None:
    quiet.setattr(pseudo_bundles, "MIN_ASPECT", 1.0)
    tiles = params(**QUIET | {"collage": 1.0})
    for seed in range(20):
        boxes = compose(material(0), SIDE, tiles, np.random.default_rng(seed)).boxes
        assert 1 <= len(boxes) <= 6
        covered = ((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])).sum()
        assert covered > 0.4 * SIDE * SIDE


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("holder", ["shelves", "open_boxes", "hands"])
def test_held_products_have_boxes_inside_the_picture(holder: str) -> None:
    held = params(**QUIET | {holder: 1.0})
    counts = []
    for seed in range(30):
        boxes = bundle(held, seed)
        counts.append(len(boxes))
        assert boxes.min(initial=0) >= 0
        assert boxes.max(initial=0) <= SIDE
    assert sum(counts) >= 20
    assert holder != "hands" or max(counts) <= MAX_HELD


def test_the_wall_of_a_box_ends_the_products_that_stand_behind_it(
    quiet: pytest.MonkeyPatch,
) -> None:
    quiet.setattr(pseudo_bundles, "ROTATION", 0.0)
    green = Sprite(np.full((40, 24, 3), (0, 255, 0), np.uint8), np.full((40, 24), 255, np.uint8))
    only = Material([], [green], [green], [], [])
    boxed = params(**QUIET | {"open_boxes": 1.0}, max_products=1)
    ends = []
    for seed in range(40):
        made = compose(only, SIDE, boxed, np.random.default_rng(seed))
        pixels = made.image.astype(int)
        rows, _ = np.nonzero((pixels[..., 1] > 250) & (pixels[..., ::2].max(axis=2) < 5))
        if len(made.boxes) == 1 and len(rows):
            ends.append(abs(made.boxes[0, 3] - (rows.max() + 1)) <= 2)
    assert len(ends) >= 20
    assert np.mean(ends) > 0.8


def test_stretched_products_keep_their_area(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pasting, "STRETCH", 0.4)
    plain = Sprite(np.zeros((40, 40, 3), np.uint8), np.full((40, 40), 255, np.uint8))
    aspects = []
    for seed in range(20):
        sprite = transform(plain, 30, 0.0, np.random.default_rng(seed))
        tall, wide = sprite.alpha.shape
        aspects.append(wide / tall)
        assert abs(np.sqrt(wide * tall) - 30) < 3
    assert min(aspects) < 0.8
    assert max(aspects) > 1.25


def test_a_cut_off_product_that_fills_its_tile_is_one(quiet: pytest.MonkeyPatch) -> None:
    quiet.setattr(pseudo_bundles, "MIN_ASPECT", 1.0)
    quiet.setattr(collages, "ZOOM", 1.0)
    tall = np.zeros((200, 64), np.uint8)
    tall[10:190, 8:56] = 255
    shown = Cutout(np.full((200, 64, 3), 200, np.uint8), tall, (8, 10, 56, 190), "flood")
    single = params(**QUIET | {"single": 1.0})
    only = Material([shown], [sprite_of(shown)], [sprite_of(shown)], [], [])
    for seed in range(10):
        boxes = compose(only, SIDE, single, np.random.default_rng(seed)).boxes
        assert len(boxes) == 1


@pytest.mark.usefixtures("quiet")
def test_a_photo_as_it_is_shows_its_one_product() -> None:
    single = params(**QUIET | {"single": 1.0})
    counts = {len(bundle(single, seed)) for seed in range(30)}
    assert counts <= {0, 1}
    assert 1 in counts


@pytest.mark.usefixtures("quiet")
def test_the_rest_of_the_square_is_the_letterbox_grey() -> None:
    wide = params(**QUIET)
    grey = round(PADDING * 255)
    narrow = 0
    for seed in range(20):
        image = compose(material(), SIDE, wide, np.random.default_rng(seed)).image
        narrow += bool((image[:, -1] == grey).all() or (image[-1] == grey).all())
    assert narrow > 5


@pytest.mark.parametrize("empty", [Material([], [], [material().drawn[0]], [], [])])
def test_a_catalogue_without_any_cutout_still_gives_bundles(empty: Material) -> None:
    counts = [
        len(compose(empty, SIDE, params(), np.random.default_rng(seed)).boxes) for seed in range(20)
    ]
    assert max(counts) > 1


@given(st.integers(0, 10**6))
@settings(deadline=None, max_examples=40)
def test_drawn_products_touch_all_four_sides(seed: int) -> None:
    sprite = draw_shape([photo((9, 9, 9), (0, 0, 9, 9))], 40, np.random.default_rng(seed))
    assert sprite.pixels.shape[:2] == sprite.alpha.shape
    assert max(sprite.alpha.shape) <= 40
    for edge in (sprite.alpha[0], sprite.alpha[-1], sprite.alpha[:, 0], sprite.alpha[:, -1]):
        assert edge.any()
