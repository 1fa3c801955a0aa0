"""What may be learnt of a query while it is answered: the one way into it from outside.

An observer is handed down with the query, from `ProductSearch.ask` to the networks. `unbundle
bench` adds up its spans, the recorder keeps the encoded query.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Literal

from unbundle.encoding.encoded_query import EncodedQuery

SpanName = Literal["decode", "detector", "backbone", "capture", "verify", "search", "known"]
"""Work on one query, in its order: the photo's file; the runs of the three networks; local features
and their comparison with the nearest photos; the index; the open-set probabilities."""

_NOTHING = nullcontext()


class Observer:
    """Observes nothing; subclasses override what they want to know.

    A query is answered by one thread, so an observer of its own needs no lock. One that is given
    with a batch hears of all its queries.
    """

    def __repr__(self) -> str:
        """As signatures show a default."""
        return f"{type(self).__name__}()"

    def span(self, name: SpanName) -> AbstractContextManager[None]:
        """A block that does such work, perhaps not the only one; spans never overlap."""
        return _NOTHING

    def encoded(self, query: EncodedQuery) -> None:
        """A query has been encoded."""


NOBODY = Observer()
"""Observes nothing, and serves any number of threads."""
