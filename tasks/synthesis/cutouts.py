"""Cuts products out of their own photos, without labels: the detector's training material.

A cascade: a flood fill from the border where the background is white, else
GrabCut (Rother et al., SIGGRAPH 2004) seeded by what differs from the background's colours, else
GrabCut inside a rectangle. A mask that does not look like one solid product is refused.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from tasks.base.params import Cutouts
from unbundle.vision.imaging import Photo

Mask = NDArray[np.uint8]
Method = Literal["flood", "seeded", "rectangle"]

GRABCUT_SIZE = 112
"""Pixels, longer side of the photos that GrabCut sees: its time grows with their area, and the
outline it finds is scaled up again."""

WHITE = 240
"""Of 255; a border at least this bright is white, JPEG's blocks and soft shadows included."""

UNIFORM = 0.85
"""Share of the border that must be white, or near the background's colours: a product may reach
over it here and there."""

FLOOD_TOLERANCE = 4
"""Of 255, between neighbouring pixels that the flood joins: a soft shadow's slope, no edge."""

TRIM = 0.85
"""Of what the flood found. GrabCut may trim it to this, as shadow; what it takes beyond is a white
product on white, which it loses."""

NEAR = 8.0
"""LAB distance from the background that still belongs to it."""

FAR = 60.0
"""LAB distance that is certainly product, and GrabCut's seed."""

SHADOW_WEIGHT = 0.3
"""Of the lightness of darker pixels in the LAB distance: a shadow has its ground's hue."""

DEEPEST_SHADOW = 45.0
"""Of 255; what is darker still is no shadow but a dark product, and counts in full."""

MARGIN = 0.04
"""Of the photo's sides; the product lies within, for `rectangle`."""

MIN_AREA, MAX_AREA = 0.03, 0.92
"""Of the photo: less is a speck, more is the photo itself."""

MIN_PIECE = 0.35
"""Of the largest piece. A product may come in pieces (a cap beside its jar); smaller ones are
stickers and dust."""

SOLIDITY: dict[Method, float] = {"flood": 0.75, "seeded": 0.8, "rectangle": 0.85}
"""Of the mask in its convex hull, at least; the less sure a method, the more it has to show."""


@dataclass(frozen=True)
class Cutout:
    """A photo whose product is known.

    Attributes:
        photo: RGB uint8 `[h, w, 3]`, scaled down to `Cutouts.image_size`.
        alpha: uint8 `[h, w]`, 255 on the product, soft at its edge.
        box: x0, y0, x1, y1 of the product in pixels of `photo`.
        method: which step of the cascade found it.
    """

    photo: Photo
    alpha: Mask
    box: tuple[int, int, int, int]
    method: Method


def shrink(photo: Photo, side: int) -> Photo:
    """Scale a photo so that its longer side is `side` at most."""
    height, width = photo.shape[:2]
    factor = side / max(height, width)
    if factor >= 1:
        return photo
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    return np.asarray(cv2.resize(photo, size, interpolation=cv2.INTER_AREA), np.uint8)


def cut_out(
    photo: Photo, params: Cutouts, methods: Sequence[Method] | None = None
) -> Cutout | None:
    """Find the product of a single-product photo; None when no method gives a credible mask.

    Args:
        photo: RGB uint8 `[h, w, 3]`.
        params: its size and methods.
        methods: tried in this order; all that `params` names by default.
    """
    small = shrink(photo, params.image_size)
    for name in params.methods if methods is None else methods:
        mask = METHODS[name](small)
        if mask is None:
            continue
        product = _credible(mask, SOLIDITY[name])
        if product is not None:
            return _soften(small, product, name)
    return None


def flood(photo: Photo) -> Mask | None:
    """What a fill from a white border does not reach, less its shadow; None without such a border.

    GrabCut loses white products on white, and the fill keeps soft shadows: so GrabCut trims what
    the fill found, unless it would take more than a shadow.
    """
    border = _border(photo)
    if (border.min(axis=1) >= WHITE).mean() < UNIFORM:
        return None
    height, width = photo.shape[:2]
    # A white frame joins all the white at the border, so that one fill reaches it.
    framed = cv2.copyMakeBorder(photo, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=(255, 255, 255))
    reached = np.zeros((height + 4, width + 4), np.uint8)
    step = (FLOOD_TOLERANCE,) * 3
    flags = 4 | cv2.FLOODFILL_MASK_ONLY | (255 << 8)
    cv2.floodFill(framed, reached, (0, 0), (0, 0, 0), step, step, flags)
    found = np.asarray(255 - reached[2:-2, 2:-2], np.uint8)
    other = seeded(photo)
    if other is None:
        return found
    trimmed = np.minimum(found, other)
    return trimmed if trimmed.sum(dtype=np.int64) > TRIM * found.sum(dtype=np.int64) else found


def seeded(photo: Photo) -> Mask | None:
    """GrabCut from the pixels unlike the background, as the border shows it; None if it does not.

    The background is a smooth surface in LAB colours (gradients, vignettes); darker pixels of its
    hue count little, for they are shadows.
    """
    small = shrink(photo, GRABCUT_SIZE)
    lab = cv2.cvtColor(small, cv2.COLOR_RGB2LAB).astype(np.float32)
    difference = lab - _background(lab)
    light = difference[..., 0]
    shadow = np.clip(light, -DEEPEST_SHADOW, 0)
    difference[..., 0] = light - shadow * (1 - SHADOW_WEIGHT)
    distance = np.linalg.norm(difference, axis=2)
    ring = np.concatenate([distance[:2].ravel(), distance[-2:].ravel()])
    ring = np.concatenate([ring, distance[:, :2].ravel(), distance[:, -2:].ravel()])
    if (ring <= NEAR).mean() < UNIFORM:
        return None
    marks = np.full(distance.shape, cv2.GC_PR_BGD, np.uint8)
    marks[distance > NEAR] = cv2.GC_PR_FGD
    marks[distance > FAR] = cv2.GC_FGD
    marks[distance < NEAR / 2] = cv2.GC_BGD
    for edge in (marks[0], marks[-1], marks[:, 0], marks[:, -1]):
        edge[edge != cv2.GC_FGD] = cv2.GC_BGD
    return _grabcut(photo, small, marks, (0, 0, 1, 1), cv2.GC_INIT_WITH_MASK)


def _background(lab: NDArray[np.float32]) -> NDArray[np.float32]:
    """A quadratic surface through the border's colours, without what stands out of it."""
    height, width = lab.shape[:2]
    y, x = np.mgrid[-0.5 : 0.5 : height * 1j, -0.5 : 0.5 : width * 1j]
    terms = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=-1).astype(np.float32)
    border = np.zeros((height, width), bool)
    border[:3] = border[-3:] = border[:, :3] = border[:, -3:] = True
    used = border
    for _ in range(3):
        surface = terms @ np.linalg.lstsq(terms[used], lab[used], rcond=None)[0]
        error = np.linalg.norm(lab - surface, axis=2)
        used = border & (error <= 3 * max(float(np.median(error[border])), 1.5))
    return np.asarray(surface, np.float32)


def rectangle(photo: Photo) -> Mask | None:
    """GrabCut of what lies inside a margin."""
    small = shrink(photo, GRABCUT_SIZE)
    height, width = small.shape[:2]
    dx, dy = max(1, round(width * MARGIN)), max(1, round(height * MARGIN))
    inner = (dx, dy, width - 2 * dx, height - 2 * dy)
    if min(inner[2:]) < 1:
        return None
    marks = np.zeros((height, width), np.uint8)
    return _grabcut(photo, small, marks, inner, cv2.GC_INIT_WITH_RECT)


METHODS: dict[Method, Callable[[Photo], Mask | None]] = {
    "flood": flood,
    "seeded": seeded,
    "rectangle": rectangle,
}


def _grabcut(
    photo: Photo, small: Photo, marks: Mask, inner: tuple[int, ...], mode: int
) -> Mask | None:
    if not np.isin(marks, (cv2.GC_FGD, cv2.GC_PR_FGD)).any() and mode == cv2.GC_INIT_WITH_MASK:
        return None
    cv2.setRNGSeed(0)
    models = np.zeros((1, 65)), np.zeros((1, 65))
    try:
        cv2.grabCut(small, marks, inner, *models, 2, mode)
    except cv2.error:
        # A photo of one colour gives GrabCut nothing to model.
        return None
    mask = np.isin(marks, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.uint8) * 255
    size = (photo.shape[1], photo.shape[0])
    grown = cv2.resize(mask, size, interpolation=cv2.INTER_LINEAR)
    return np.asarray((grown > 127) * 255, np.uint8)


def _border(pixels: NDArray[Any]) -> NDArray[Any]:
    rows = np.concatenate([pixels[:2], pixels[-2:]]).reshape(-1, 3)
    columns = np.concatenate([pixels[:, :2], pixels[:, -2:]]).reshape(-1, 3)
    return np.concatenate([rows, columns])


def _credible(mask: Mask, solidity: float) -> Mask | None:
    """The mask without specks and holes, if it is one solid thing of a sensible size."""
    opened = cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    contours, _ = cv2.findContours(opened, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    if not contours:
        return None
    sizes = [cv2.contourArea(contour) for contour in contours]
    pieces = [
        contour
        for contour, size in zip(contours, sizes, strict=True)
        if size >= MIN_PIECE * max(sizes)
    ]
    whole = np.zeros_like(mask)
    cv2.drawContours(whole, pieces, -1, 255, cv2.FILLED)
    area = float((whole > 0).mean())
    hull = cv2.contourArea(cv2.convexHull(np.concatenate(pieces))) / mask.size
    if not MIN_AREA < area < MAX_AREA:
        return None
    return whole if area / max(hull, 1e-9) >= solidity else None


def _soften(photo: Photo, mask: Mask, method: Method) -> Cutout:
    # One pixel inwards: the outermost is mixed with the old background.
    inner = cv2.erode(mask, np.ones((3, 3), np.uint8))
    alpha = np.asarray(cv2.GaussianBlur(inner, (3, 3), 0), np.uint8)
    x, y, width, height = cv2.boundingRect(mask)
    return Cutout(photo, alpha, (x, y, x + width, y + height), method)


CERTAIN: tuple[Method, ...] = ("flood", "seeded")
"""Methods whose masks are trusted within the original photo. A rectangle's GrabCut is often a part
of the product, or product and hand: pasted it is a thing with a known box all the same, but in its
own photo its box would teach the wrong extent."""
