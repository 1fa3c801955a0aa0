"""The query side of unbundle: a bundle photo in, its products out. Runs without torch.

from unbundle import ProductSearch

with ProductSearch("data/bundles") as search:
    answer = search("bundle.jpg", caption="AHC 套装 面霜 + 眼霜", k=10)
"""

from typing import TYPE_CHECKING, Any

from unbundle.base.errors import UserError

if TYPE_CHECKING:
    from unbundle.index.duplicates import Duplicate
    from unbundle.index.filters import Range
    from unbundle.index.gallery_collection import Hit
    from unbundle.query.prices import Part, Parts
    from unbundle.query.search import Answer, Instance, ProductSearch, Question

__all__ = [
    "Answer",
    "Duplicate",
    "Hit",
    "Instance",
    "Part",
    "Parts",
    "ProductSearch",
    "Question",
    "Range",
    "UserError",
]


def __getattr__(name: str) -> Any:
    """Import Milvus' client and ONNX Runtime when they are first needed: they cost a second."""
    if name in __all__:
        from unbundle.query import search

        return getattr(search, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
