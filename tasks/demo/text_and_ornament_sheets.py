"""Sheets of print: text, bands and ornaments on a transparent canvas, some of them in foil."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import matplotlib
from PIL import Image, ImageDraw, ImageFont

from tasks.demo.motifs import MOTIFS

FACES = {
    "serif": "STIXGeneral.ttf",
    "serif_bold": "STIXGeneralBol.ttf",
    "serif_italic": "STIXGeneralItalic.ttf",
    "sans": "DejaVuSans.ttf",
    "sans_bold": "DejaVuSans-Bold.ttf",
    "sans_oblique": "DejaVuSans-Oblique.ttf",
    "sans_light": "cmss10.ttf",
    "mono": "DejaVuSansMono.ttf",
    "mono_bold": "DejaVuSansMono-Bold.ttf",
}
"""Type faces that matplotlib carries."""

MEASURE = 64
"""Size in pixels at which text is measured before it is fitted."""


@lru_cache(maxsize=512)
def font(face: str, size: int) -> ImageFont.FreeTypeFont:
    """A type face of `FACES` at a size in pixels."""
    return ImageFont.truetype(
        str(Path(matplotlib.get_data_path()) / "fonts/ttf" / FACES[face]), size
    )


@dataclass(frozen=True)
class Rect:
    """A rectangle in pixels of a sheet."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def width(self) -> float:
        """Pixels."""
        return self.right - self.left

    @property
    def height(self) -> float:
        """Pixels."""
        return self.bottom - self.top

    @property
    def centre(self) -> tuple[float, float]:
        """x and y."""
        return (self.left + self.right) / 2, (self.top + self.bottom) / 2

    def part(self, low: float, high: float) -> "Rect":
        """The horizontal strip from `low` to `high`, shares of the height from the top."""
        return Rect(
            self.left, self.top + low * self.height, self.right, self.top + high * self.height
        )


class Sheet:
    """A canvas for one label, with a second one that says where the print is metal foil."""

    def __init__(self, width: int, height: int) -> None:
        self.ink = Image.new("RGBA", (width, height), (0, 0, 0, 0))
        self.foil = Image.new("L", (width, height), 0)
        self._pens = (ImageDraw.Draw(self.ink), ImageDraw.Draw(self.foil))

    def _both(self, colour: str, foil: bool) -> tuple[tuple[ImageDraw.ImageDraw, str | int], ...]:
        return (self._pens[0], colour), (self._pens[1], 255 if foil else 0)

    def fill(self, area: Rect, colour: str, *, radius: float = 0) -> None:
        """A filled rectangle."""
        box = (area.left, area.top, area.right, area.bottom)
        for pen, value in self._both(colour, False):
            pen.rounded_rectangle(box, radius, fill=value)

    def outline(self, area: Rect, colour: str, width: float, *, foil: bool = False) -> None:
        """The edge of a rectangle."""
        box = (area.left, area.top, area.right, area.bottom)
        for pen, value in self._both(colour, foil):
            pen.rectangle(box, outline=value, width=max(1, round(width)))

    def disc(
        self, centre: tuple[float, float], radius: float, colour: str, *, foil: bool = False
    ) -> None:
        """A filled circle."""
        for pen, value in self._both(colour, foil):
            pen.circle(centre, radius, fill=value)

    def polygon(self, points: list[tuple[float, float]], colour: str) -> None:
        """A filled polygon."""
        for pen, value in self._both(colour, False):
            pen.polygon(points, fill=value)

    def rule(self, area: Rect, colour: str, *, foil: bool = False) -> None:
        """A thin horizontal line through the middle of an area."""
        y = area.centre[1]
        for pen, value in self._both(colour, foil):
            pen.line((area.left, y, area.right, y), fill=value, width=2)

    def motif(self, name: str, area: Rect, colour: str, *, foil: bool = False) -> None:
        """A brand's ornament, as large as the area allows."""
        x, y = area.centre
        radius = min(area.width, area.height) / 2
        for stroke in MOTIFS[name]():
            points = [(x + radius * a, y + radius * b) for a, b in stroke]
            for pen, value in self._both(colour, foil):
                pen.line(points, fill=value, width=max(2, round(radius / 10)), joint="curve")

    def text(
        self,
        words: str,
        area: Rect,
        colour: str,
        face: str,
        *,
        tracking: float = 0.0,
        align: float = 0.5,
        foil: bool = False,
    ) -> None:
        """One line of text, as large as the area allows.

        Args:
            words: the text.
            area: where it goes.
            colour: such as "#5a3b2c".
            face: key of `FACES`.
            tracking: extra space between letters, in ems.
            align: 0 left, 0.5 centred, 1 right.
            foil: printed in metal.
        """
        sample = font(face, MEASURE)
        ascent, descent = sample.getmetrics()
        natural = sample.getlength(words) + tracking * MEASURE * (len(words) - 1)
        size = int(
            MEASURE * min(area.width / max(natural, 1), area.height / (0.92 * (ascent + descent)))
        )
        if size < 4:
            return
        chosen = font(face, size)
        step = tracking * size
        x = area.left + align * (area.width - natural * size / MEASURE)
        for letter in words if tracking else [words]:
            for pen, value in self._both(colour, foil):
                pen.text((x, area.centre[1]), letter, fill=value, font=chosen, anchor="lm")
            x += chosen.getlength(letter) + step

    def turned(self, other: "Sheet", corner: tuple[int, int]) -> None:
        """Paste another sheet, turned to read upward, with its top left at `corner`."""
        for mine, theirs in ((self.ink, other.ink), (self.foil, other.foil)):
            turned = theirs.transpose(Image.Transpose.ROTATE_90)
            mine.paste(
                turned, corner, other.ink.getchannel("A").transpose(Image.Transpose.ROTATE_90)
            )
