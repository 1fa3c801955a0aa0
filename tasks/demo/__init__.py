"""A catalogue of invented cosmetics, rendered from a seed: photos, titles, boxes, labels."""

from tasks.demo.products import Product, list_products
from tasks.demo.render import render_catalogue

__all__ = ["Product", "list_products", "render_catalogue"]
