"""Pictures in a terminal: two pixels per character, as the halves of a block."""

from PIL import Image
from rich.color import Color
from rich.style import Style
from rich.text import Text

_UPPER_HALF = "▀"


def blocks(image: Image.Image, columns: int) -> Text:
    """An image as lines of text.

    Args:
        image: RGB.
        columns: characters per line at most.
    """
    width = min(columns, image.width)
    rows = max(1, round(image.height * width / image.width / 2))
    pixels = image.resize((width, 2 * rows), Image.Resampling.LANCZOS).load()
    assert pixels is not None
    text = Text(no_wrap=True)
    for row in range(rows):
        for column in range(width):
            upper, lower = (_colour(pixels[column, 2 * row + half]) for half in (0, 1))
            text.append(_UPPER_HALF, Style(color=upper, bgcolor=lower))
        text.append("\n")
    return text


def _colour(pixel: float | tuple[int, ...]) -> Color:
    assert isinstance(pixel, tuple)
    return Color.from_rgb(*pixel[:3])
