"""Promotional clutter: badges, price tags, ribbons and banners that shops put on photos."""

import numpy as np
from PIL import Image, ImageDraw

from tasks.demo.photo_backgrounds import Picture
from tasks.demo.text_and_ornament_sheets import font

COLOURS = ("#e02a2a", "#f5a300", "#1f1f1f", "#e84393", "#0f9d58", "#2d6cdf")
WORDS = ("SALE", "HOT", "NEW", "-20%", "-50%", "2 FOR 1", "GIFT", "TOP 1", "VIP")
BANNERS = ("FREE SHIPPING", "OFFICIAL STORE", "100% AUTHENTIC", "BUY 1 GET 1", "FLASH SALE")


def stick(photo: Picture, rng: np.random.Generator, price: int) -> Picture:
    """Put one promotion on a photo, near its edge; `price` is what a tag shows."""
    image = Image.fromarray(photo)
    pen = ImageDraw.Draw(image)
    colour = COLOURS[int(rng.integers(len(COLOURS)))]
    kind = rng.random()
    if kind < 0.4:
        _badge(pen, image.size, rng, colour)
    elif kind < 0.75:
        _tag(pen, image.size, rng, f"¥{price}")
    else:
        _banner(pen, image.size, rng, colour)
    return np.asarray(image)


def _text(
    pen: ImageDraw.ImageDraw, centre: tuple[float, float], words: str, room: float, colour: str
) -> None:
    natural = font("sans_bold", 64).getlength(words)
    size = max(6, int(64 * room / natural))
    pen.text(centre, words, fill=colour, font=font("sans_bold", size), anchor="mm")


def _corner(size: tuple[int, int], rng: np.random.Generator, reach: float) -> tuple[float, float]:
    x = reach if rng.random() < 0.5 else size[0] - reach
    y = reach if rng.random() < 0.6 else size[1] - reach
    return x, y


def _badge(
    pen: ImageDraw.ImageDraw, size: tuple[int, int], rng: np.random.Generator, colour: str
) -> None:
    radius = min(size) * float(rng.uniform(0.085, 0.125))
    centre = _corner(size, rng, radius * float(rng.uniform(1.05, 1.3)))
    if rng.random() < 0.5:
        pen.circle(centre, radius, fill=colour, outline="#ffffff", width=2)
    else:
        angles = np.arange(24) * np.pi / 12
        reach = radius * np.where(np.arange(24) % 2, 0.86, 1.08)
        star = np.stack([np.cos(angles), np.sin(angles)], 1) * reach[:, None] + centre
        pen.polygon([(float(x), float(y)) for x, y in star], fill=colour)
    _text(pen, centre, WORDS[int(rng.integers(len(WORDS)))], radius * 1.5, "#ffffff")


def _tag(
    pen: ImageDraw.ImageDraw, size: tuple[int, int], rng: np.random.Generator, words: str
) -> None:
    wide = min(size) * float(rng.uniform(0.2, 0.27))
    tall = wide * 0.42
    x, y = _corner(size, rng, wide * 0.6)
    yellow = rng.random() < 0.5
    box = (x - wide / 2, y - tall / 2, x + wide / 2, y + tall / 2)
    pen.rounded_rectangle(box, tall * 0.25, fill="#ffd91a" if yellow else "#e02a2a")
    _text(pen, (x, y), words, wide * 0.8, "#c00d0d" if yellow else "#ffffff")


def _banner(
    pen: ImageDraw.ImageDraw, size: tuple[int, int], rng: np.random.Generator, colour: str
) -> None:
    tall = size[1] * float(rng.uniform(0.06, 0.085))
    top = size[1] - tall if rng.random() < 0.7 else 0.0
    pen.rectangle((0, top, size[0], top + tall), fill=colour)
    words = BANNERS[int(rng.integers(len(BANNERS)))]
    _text(pen, (size[0] / 2, top + tall / 2), words, tall * 0.5 * len(words), "#ffffff")
