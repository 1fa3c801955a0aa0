"""Product1M's own evaluation protocol, its quirks kept, so that figures compare with papers.

The facts are those of the published script (`CAPTURE/evaluate_suit.py`, the version that sums the
labels' ratios; another published version keeps only the last label's). They are kept on purpose:

- AP and Prec look at K' = min(K, relevant items, ranked items) places, and a label that a query
  names twice counts its items twice in "relevant items".
- AP is divided by the hits found, so one hit at rank 1 and nothing else is a perfect 1.
- mAR wants floor(K / labels) items per occurrence of a label, at most that label's gallery size,
  and looks at K places, not K'.
- A ranked id that comes twice hits twice.
- Where the script's arithmetic raises, the query keeps what was added before and still counts.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Ranking = tuple[str, Sequence[str]]
"""A query's id and the ids of gallery items, best first: one line of `retrieval_id_list.txt`."""


@dataclass(frozen=True)
class Failure:
    """A query whose computation stops half-way in the published script."""

    query: str
    reason: str


@dataclass(frozen=True)
class Official:
    """The three figures at one K, as fractions, and the queries that stopped half-way."""

    mean_average_precision: float
    precision: float
    average_recall: float
    failures: tuple[Failure, ...]

    def as_json(self) -> dict[str, float]:
        """The figures under the published script's keys."""
        return {
            "mAP": self.mean_average_precision,
            "Prec": self.precision,
            "mAR": self.average_recall,
        }


def official(
    rankings: Sequence[Ranking],
    queries: Mapping[str, Sequence[str]],
    gallery: Mapping[str, str],
    k: int,
) -> Official:
    """Score rankings as Product1M's script does, to 1e-12.

    Args:
        rankings: the lines to average over; a query that comes twice counts twice.
        queries: instance labels by query id, repeated where the product is there twice.
        gallery: the first label of each gallery item by its id.
        k: the K of the figures, 10, 50 or 100 in the paper.

    Raises:
        ValueError: there are no rankings.
    """
    if not rankings:
        raise ValueError("the official protocol is a mean over rankings; there are none")
    sizes = Counter(gallery.values())
    figures = [
        _score(ranking, queries.get(query), gallery, sizes, k) for query, ranking in rankings
    ]
    failures = (
        Failure(query, figure.stopped)
        for (query, _), figure in zip(rankings, figures, strict=True)
        if figure.stopped
    )
    return Official(
        mean_average_precision=sum(figure.average_precision for figure in figures) / len(figures),
        precision=sum(figure.precision for figure in figures) / len(figures),
        average_recall=sum(figure.average_recall for figure in figures) / len(figures),
        failures=tuple(failures),
    )


@dataclass(frozen=True)
class _Figures:
    average_precision: float = 0.0
    precision: float = 0.0
    average_recall: float = 0.0
    stopped: str = ""


def _score(
    ranking: Sequence[str],
    labels: Sequence[str] | None,
    gallery: Mapping[str, str],
    sizes: Mapping[str, int],
    k: int,
) -> _Figures:
    if labels is None:
        return _Figures(stopped="the query is not annotated")
    for label in labels:
        if label not in sizes:
            return _Figures(stopped=f"label {label!r} is not in the gallery")
    limit = min(k, sum(sizes[label] for label in labels), len(ranking))
    if limit == 0:
        return _Figures(stopped="nothing is ranked or nothing is relevant")
    hits = [gallery.get(item) in labels for item in ranking[:limit]]
    average_precision, precision = _average_precision(hits), sum(hits) / limit
    for item in ranking[:k]:
        if item not in gallery:
            reason = f"ranked id {item!r} is not in the gallery"
            return _Figures(average_precision, precision, stopped=reason)
    found = Counter(gallery[item] for item in ranking[:k])
    expected = {
        label: min(count * (k // len(labels)), sizes[label])
        for label, count in Counter(labels).items()
    }
    for label, count in expected.items():
        if count == 0 and found[label]:
            reason = f"label {label!r} is found where none of it is expected"
            return _Figures(average_precision, precision, stopped=reason)
    ratios = [min(found[label], count) / count for label, count in expected.items() if found[label]]
    return _Figures(average_precision, precision, sum(ratios) / len(expected))


def _average_precision(hits: Sequence[bool]) -> float:
    precisions: list[float] = []
    for place, hit in enumerate(hits, start=1):
        if hit:
            precisions.append((len(precisions) + 1) / place)
    return sum(precisions) / len(precisions) if precisions else 0.0
