"""A catalogue of invented cosmetics, rendered from a seed: photos, titles, boxes, labels.

Pictures made of a catalogue's own photos are in `synthesis`.
"""

from tasks.demo.products import DemoProduct, list_products
from tasks.demo.write_catalogue import render_catalogue

__all__ = ["DemoProduct", "list_products", "render_catalogue"]
