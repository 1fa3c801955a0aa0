"""Vectors like those of a trained bundle, as many as wanted, from a seed.

A catalogue of one million photos with trained vectors is not to be had here, so this draws latent
points where real ones lie and sends them through the bundle's own layout. A photo is its category's
centre, plus its product in a subspace of few dimensions that turns with the category, plus its view
(light, angle, crop) in a subspace that all photos share. Three unit parts of random but fixed
projections, a title that knows less of the view, and a fourth part join as
`unbundle.ranking.embedding_parts.join_parts` joins them; queries are further views of products of
the gallery, weighted like a query of the bundle. So a query is, as in a shop, no neighbour's twin
and drawn from another distribution than the rows.

`SHARES` are set so that the cosines of siblings, of nearest other products and of random pairs, and
the number of dimensions that hold 90 % of the variance, lie where the galleries of demo and grocery
have theirs (docs/decisions.md).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from unbundle.encoding.model_bundle import EmbeddingSettings
from unbundle.ranking.embedding_parts import Vectors, join_parts, query_vectors

CHUNK = 10_000
"""Rows that are drawn at once; a chunk depends on seed and number alone."""

VIEWS = 4
"""Photos of a product; CHUNK is a multiple."""

_LATENT = 96
_CATEGORIES = 458  # of Product1M
_PRODUCT_DIMENSIONS = 24
_VIEW_DIMENSIONS = 16
_DECAY = 0.35  # of the latent axes' spread
_TITLE_VIEW = 0.7  # how much of the view a title shares
SHARES = {"category": 0.34, "product": 0.26, "view": 0.38, "noise": 0.02}
"""Of the latent variance."""
_MEAN = 0.5  # of the latent length: real rows lean to one side

Latent = NDArray[np.float32]


@dataclass(frozen=True)
class Embeddings:
    """Rows and queries of one seed in the layout of one bundle."""

    settings: EmbeddingSettings
    seed: int = 7

    def chunk(self, number: int, queries: int = 0) -> tuple[Vectors, Vectors]:
        """Rows `[CHUNK, D]`, `VIEWS` in a row of each product, and queries `[queries, D]`.

        Queries are views of the chunk's products that are none of its rows.
        """
        rng = np.random.default_rng([self.seed, number])
        products = CHUNK // VIEWS
        seen = self._normal(rng, products, VIEWS + 1, _VIEW_DIMENSIONS) @ self._views
        category = rng.integers(_CATEGORIES, size=products)
        inner = self._normal(rng, products, _PRODUCT_DIMENSIONS)
        product = np.einsum("pi,pij->pj", inner, self._subspaces[category])
        still = self._centres[category] + product
        rows = self._heads(rng, np.repeat(still, VIEWS, axis=0), seen[:, :VIEWS].reshape(CHUNK, -1))
        asked = rng.permutation(products)[:queries]
        heads = self._heads(rng, still[asked], seen[asked, VIEWS])
        return (
            join_parts(rows, self.settings.parts),
            query_vectors(heads, self.settings.parts, self.settings.weights["both"]),
        )

    def _heads(self, rng: np.random.Generator, still: Latent, view: Latent) -> Mapping[str, Latent]:
        photo, title = still + view, still + _TITLE_VIEW * view
        whole = (photo + title) / 2
        points = dict.fromkeys(("text", "read", "lexical", "lexical_read"), title) | {
            "joint": whole
        }
        points |= dict.fromkeys(("raw", "colour", "visual"), photo)
        heads = {}
        for name, latent in points.items():
            flat = latent @ self._projections[name]
            heads[name] = flat + np.sqrt(SHARES["noise"]) * self._normal(rng, *flat.shape)
        return heads

    @cached_property
    def _spread(self) -> Latent:
        axes = np.arange(1, _LATENT + 1) ** -_DECAY
        return np.asarray(axes / np.sqrt(np.mean(axes**2)), np.float32)

    @cached_property
    def _centres(self) -> Latent:
        rng = np.random.default_rng([self.seed, 1, 1])
        around = self._normal(rng, _CATEGORIES, _LATENT) * self._spread
        mean = self._normal(rng, 1, _LATENT) * self._spread
        return np.asarray(np.sqrt(SHARES["category"]) * around + _MEAN * mean, np.float32)

    @cached_property
    def _subspaces(self) -> Latent:
        rng = np.random.default_rng([self.seed, 1, 2])
        bases = self._normal(rng, _CATEGORIES, _PRODUCT_DIMENSIONS, _LATENT) * self._spread
        return np.asarray(bases * np.sqrt(SHARES["product"] / _PRODUCT_DIMENSIONS), np.float32)

    @cached_property
    def _views(self) -> Latent:
        rng = np.random.default_rng([self.seed, 1, 3])
        basis = self._normal(rng, _VIEW_DIMENSIONS, _LATENT) * self._spread
        return np.asarray(basis * np.sqrt(SHARES["view"] / _VIEW_DIMENSIONS), np.float32)

    @cached_property
    def _projections(self) -> Mapping[str, Latent]:
        rng = np.random.default_rng([self.seed, 1, 4])
        found = {
            part: self._normal(rng, _LATENT, size) / np.float32(np.sqrt(_LATENT))
            for part, size in zip(self.settings.parts, self.settings.dimensions, strict=True)
        }
        # Photos and titles share one space.
        alike = {"text": found["visual"], "read": found["visual"], "lexical_read": found["lexical"]}
        return found | alike

    @staticmethod
    def _normal(rng: np.random.Generator, *shape: int) -> Latent:
        return rng.standard_normal(shape, dtype=np.float32)
