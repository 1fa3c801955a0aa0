from PIL import Image
from rich.color import Color

from unbundle.terminal.half_blocks import blocks


def test_a_character_is_two_pixels() -> None:
    image = Image.new("RGB", (2, 4), "#000000")
    image.putpixel((1, 0), (255, 0, 0))
    image.putpixel((1, 1), (0, 0, 255))
    text = blocks(image, 80)
    assert text.plain == "▀▀\n▀▀\n"
    style = text.spans[1].style
    assert not isinstance(style, str)
    assert (style.color, style.bgcolor) == (Color.from_rgb(255, 0, 0), Color.from_rgb(0, 0, 255))


def test_a_wide_image_fits() -> None:
    lines = blocks(Image.new("RGB", (500, 100)), 40).plain.splitlines()
    assert {len(line) for line in lines} == {40}
    assert len(lines) == 4
