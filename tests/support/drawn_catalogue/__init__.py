"""A third drawing style, for tests alone: inked and cel-shaded groceries with German titles.

Neither the demo's (shaded cosmetics) nor a photograph's: flat colours, hard shadows, halftone dots
and ink outlines; cartons, cans, pouches and trigger bottles in hands, on shelves and in boxes.
What was tuned on the demo is judged on it.

    python -m tests.support.drawn_catalogue OUTPUT_DIR --seed 3
"""

from .catalogue import Size, write_catalogue
from .products import Product, list_products
from .scenes import SCENES, Drawn, draw_scene

__all__ = ["SCENES", "Drawn", "Product", "Size", "draw_scene", "list_products", "write_catalogue"]
