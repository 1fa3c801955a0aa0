"""Drift: served queries and today's catalogue compared with the profile of the champion.

A profile describes the queries and photos that the champion was judged on.

Pure functions of records. A profile keeps 101 quantiles of every figure, so that it fits into a
property of the collection that it describes; distributions are compared by the
Kolmogorov-Smirnov distance, shares by their difference.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from tasks.base.params import Watch
from unbundle.recording.query_log import Facts, Record

QUANTILES = 101


class Profile(BaseModel):
    """What a champion was judged on.

    Attributes:
        counts: of what each group of figures is, such as `queries`.
        numbers: `QUANTILES` quantiles of every figure, by its name, such as `queries: brightness`.
        shares: 0 to 1, by name.
        centre: mean query vector `[D]` of the instances.
    """

    model_config = ConfigDict(frozen=True)

    counts: dict[str, int]
    numbers: dict[str, list[float]]
    shares: dict[str, float]
    centre: list[float]


@dataclass(frozen=True)
class Figure:
    """One figure then and now.

    Attributes:
        name: with its group.
        then: median of a distribution, or a share.
        now: the same of today.
        distance: Kolmogorov-Smirnov distance, or difference of the shares, 0 to 1.
        limit: a larger distance is a breach.
    """

    name: str
    then: float
    now: float
    distance: float
    limit: float

    @property
    def breached(self) -> bool:
        """Whether it is too far away."""
        return self.distance > self.limit

    @property
    def line(self) -> str:
        """In words."""
        return (
            f"{self.name}: {self.then:.3g} when the champion was judged, {self.now:.3g} now "
            f"(distance {self.distance:.2f}, {'beyond' if self.breached else 'within'} "
            f"{self.limit:g})"
        )


def profile(records: Sequence[Record], catalogue: Sequence[Facts]) -> Profile:
    """The profile of queries and of the catalogue's photos and titles, at least one of each."""
    centre = np.concatenate([record.query_vectors() for record in records]).mean(axis=0)
    numbers, shares = _measured(records, catalogue, centre)
    return Profile(
        counts={"queries": len(records), "catalogue": len(catalogue)},
        numbers={name: _quantiles(values) for name, values in numbers.items() if len(values)},
        shares={name: round(share, 6) for name, share in shares.items()},
        centre=[round(float(value), 6) for value in centre],
    )


def compare(
    then: Profile, records: Sequence[Record], catalogue: Sequence[Facts], limits: Watch
) -> list[Figure]:
    """Every figure that can be told today, the furthest beyond its limit first.

    Args:
        then: of the champion.
        records: served queries of the champion's bundle; fewer than `watch.min_queries` tell
            nothing.
        catalogue: photos and titles of today's catalogue; none tell nothing.
        limits: of the distances.
    """
    from scipy.stats import ks_2samp

    if len(records) < limits.min_queries:
        records = ()
    numbers, shares = _measured(records, catalogue, np.asarray(then.centre, np.float32))
    figures = []
    for name, quantiles in then.numbers.items():
        values = numbers.get(name, np.zeros(0))
        if len(values):
            distance = float(ks_2samp(quantiles, values, method="asymp").statistic)
            medians = float(np.median(quantiles)), float(np.median(values))
            figures.append(Figure(name, *medians, distance, limits.max_shift))
    for name, share in shares.items():
        before = then.shares.get(name, 0.0)
        figures.append(Figure(name, before, share, abs(share - before), limits.max_share))
    return sorted(figures, key=lambda figure: figure.limit - figure.distance)


def _measured(
    records: Sequence[Record], catalogue: Sequence[Facts], centre: NDArray[np.float32]
) -> tuple[dict[str, NDArray[np.float64]], dict[str, float]]:
    numbers, shares = _of_inputs("queries", records)
    more_numbers, more_shares = _of_inputs("catalogue", catalogue)
    numbers, shares = numbers | more_numbers, shares | more_shares
    instances = [seen for record in records for seen in record.instances]
    best = [seen.scores[0] for seen in instances if seen.scores]
    seen = [len(record.instances) for record in records if record.width and not record.boxes_given]
    numbers |= {
        "queries: products seen in a photo": np.asarray(seen, float),
        "queries: score of the first product": np.asarray(best, float),
        "queries: cosine with the mean query": _cosines(records, centre),
    }
    if instances:
        absent = float(np.mean([not one.in_catalogue for one in instances]))
        shares["queries: products not in the catalogue"] = absent
    return numbers, shares


def _of_inputs(
    group: str, inputs: Sequence[Facts]
) -> tuple[dict[str, NDArray[np.float64]], dict[str, float]]:
    titled = [one for one in inputs if one.title_length]
    photos = [one for one in inputs if one.width and one.height]
    sides = [(one.width or 0) * (one.height or 0) for one in photos]
    numbers: Mapping[str, Sequence[float]] = {
        "characters of a title": [one.title_length for one in titled],
        "unknown pieces of a title": [one.unknown for one in titled],
        "size of a photo": np.sqrt(np.asarray(sides, float)).tolist(),
        "brightness": [one.brightness or 0.0 for one in photos],
    }
    shares: dict[str, float] = {}
    if inputs:
        shares["without a title"] = 1 - len(titled) / len(inputs)
    if titled:
        scripts = [one.script for one in titled]
        for name in ("han", "latin", "other"):
            shares[f"titles in {name}"] = scripts.count(name) / len(titled)
    return (
        {f"{group}: {name}": np.asarray(values, float) for name, values in numbers.items()},
        {f"{group}: {name}": value for name, value in shares.items()},
    )


def _cosines(records: Sequence[Record], centre: NDArray[np.float32]) -> NDArray[np.float64]:
    # A title alone has other parts in its vector than a photo.
    vectors = [record.query_vectors() for record in records if record.width]
    if not vectors:
        return np.zeros(0)
    rows = np.concatenate(vectors)
    lengths = np.linalg.norm(rows, axis=1) * np.linalg.norm(centre)
    return np.asarray(rows @ centre / np.maximum(lengths, 1e-9), np.float64)


def _quantiles(values: NDArray[np.float64]) -> list[float]:
    return [round(float(value), 5) for value in np.quantile(values, np.linspace(0, 1, QUANTILES))]
