"""A crop's colours as a histogram, computed in the backbone's network.

Two lipsticks of one line, or two flavours of one yoghurt, are the same object to a backbone that
was trained on ImageNet. So every token ends in the histogram of its region: CAPTURE reads it as
further channels, and the whole crop's is the part `colour` of the embedding.
"""

from math import pi

import torch
from torch import Tensor, nn

from models.backbone.pooling import pooled

LIGHTNESSES, HUES = 3, 8
COLOURS = LIGHTNESSES * HUES * HUES
"""Numbers in a histogram."""

_SPAN = 48.0
"""CIELAB's a and b beyond this count as the outermost bin: few packagings are more colourful."""

_CELL = 16
"""Cells a side into which a region is averaged before its colours are counted."""

# sRGB to CIE XYZ, rows divided by the white point D65 (IEC 61966-2-1).
_XYZ = ((0.43395, 0.37622, 0.18983), (0.21267, 0.71516, 0.07217), (0.01776, 0.10948, 0.87277))


class ColourHistogram(nn.Module):
    """Roots of histograms over CIELAB with linear soft bins, each of length sqrt(`COLOURS`).

    The roots make the cosine the Bhattacharyya coefficient; the length makes the root of the mean
    square 1, about that of the backbone's channels.

    Args:
        mean, std: of the crops' normalisation.
        grid: regions a side.
    """

    mean: Tensor
    std: Tensor
    xyz: Tensor

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...], grid: int) -> None:
        super().__init__()
        self.grid = grid
        for name, values in (("mean", mean), ("std", std)):
            self.register_buffer(name, torch.tensor(values)[:, None, None], persistent=False)
        self.register_buffer("xyz", torch.tensor(_XYZ), persistent=False)

    def forward(self, crops: Tensor) -> Tensor:
        """Histograms `[N, 1 + grid * grid, COLOURS]` of normalised crops `[N, 3, R, R]`.

        Row 0 is the whole crop's, in which the middle counts most, as a box's rim shows what is
        behind the product; the others are the regions', row by row.
        """
        side = self.grid * _CELL
        # Means over all pixels would cost more than the histograms.
        step = max(1, crops.shape[2] // (2 * side))
        pixels = pooled(crops[:, :, ::step, ::step], side) * self.std + self.mean
        rows, columns = _middle(_changes(pixels, 3)), _middle(_changes(pixels, 2))
        weights = rows.unsqueeze(2) * columns.unsqueeze(1)
        lightness, red, blue = self._cells(self._lab(pixels)).unbind(1)
        # A region of nothing but padding has that colour's histogram.
        light = _bins(lightness, 0, 100, LIGHTNESSES) * self._cells(weights + 1e-6).unsqueeze(2)
        both = (light.unsqueeze(3) * _bins(red, -_SPAN, _SPAN, HUES).unsqueeze(2)).flatten(2, 3)
        regions = (both @ _bins(blue, -_SPAN, _SPAN, HUES).transpose(2, 3)).flatten(2)
        counts = torch.cat([regions.sum(1, keepdim=True), regions], dim=1)
        return (counts / counts.sum(2, keepdim=True) * COLOURS).sqrt()

    def _lab(self, pixels: Tensor) -> Tensor:
        """CIELAB `[N, 3, h, w]` of sRGB `[N, 3, h, w]` in 0..1."""
        # A cubic that stays within .003 of the standard's power of 2.4, at a tenth of its time.
        linear = pixels * (pixels * (pixels * 0.305306 + 0.682171) + 0.012523)
        relative = torch.einsum("nchw,xc->nxhw", linear, self.xyz)
        root = relative.clamp(min=1e-6) ** (1 / 3)
        x, y, z = torch.where(relative > 0.008856, root, 7.787 * relative + 16 / 116).unbind(1)
        return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], dim=1)

    def _cells(self, values: Tensor) -> Tensor:
        """The pixels of each region, `[..., grid * grid, _CELL * _CELL]`, of `[..., h, w]`."""
        grid = self.grid
        cells = values.reshape(*values.shape[:-2], grid, _CELL, grid, _CELL).transpose(-2, -3)
        return cells.reshape(*values.shape[:-2], grid * grid, _CELL * _CELL)


def _changes(pixels: Tensor, axis: int) -> Tensor:
    """Whether a row (`axis` 3) or column (2) of `[N, 3, h, w]` has more than one colour, as 0, 1.

    Those that have not are the padding that makes a crop square (`unbundle.vision.imaging.crops`).
    """
    first = pixels.narrow(axis, 0, 1)
    return ((pixels - first).abs().amax(dim=(1, axis)) > 1 / 255).to(pixels.dtype)


def _middle(shown: Tensor) -> Tensor:
    """Weights `[N, L]` of rows or columns, most in the middle of what is `shown` `[N, L]`."""
    place = (shown.cumsum(1) - shown / 2) / shown.sum(1, keepdim=True).clamp(min=1)
    return shown * torch.sin(pi * place) ** 2


def _bins(values: Tensor, low: float, high: float, count: int) -> Tensor:
    """Shares `[..., count, P]` of values `[..., P]` in the two bins with the next centres."""
    centres = torch.arange(count, device=values.device, dtype=values.dtype)[:, None]
    places = (values.clamp(low, high) - low) * ((count - 1) / (high - low))
    return (1 - (places.unsqueeze(-2) - centres).abs()).clamp(min=0)
