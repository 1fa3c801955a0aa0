"""Whether a candidate may answer clients: a pure function of figures and rules, with its record.

Every rule is judged and recorded, also after one has failed, so that one run says all there is to
repair.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from tasks.base.params import DEPTH, Params
from tasks.metrics.ranking import Interval, Values, bootstrap


@dataclass(frozen=True)
class Measurement:
    """What was measured of one collection on today's queries.

    Attributes:
        collection: its real name, never an alias.
        average_precision: corrected AP at `DEPTH`, per query `[N]`.
        coverage: instance coverage at the same K, per query `[N]`.
        latency_ms: median time of one query, photo to hits, on the machine that decides.
    """

    collection: str
    average_precision: Values
    coverage: Values
    latency_ms: float


@dataclass(frozen=True)
class Candidate(Measurement):
    """What only the candidate has to show.

    Attributes:
        slices: membership `[N]` of the queries by slice.
        cosines: the lowest cosine of fp32 ONNX and torch outputs, by network.
        int8_cosines: the lowest cosine of int8 and fp32 outputs, by network that is int8.
        int8_gain: mean of mAP@10 with int8 less that with fp32, on dev; None where nothing is int8
            or no query could tell.
        index_recall: share of exact search's first hits that the index finds.
        rows: what the collection holds.
        gallery: what it should hold.
        over_baselines: differences, query by query, to what needs no training: by baseline, then
            by metric; by photo alone where nobody labelled the queries.
        replayed: recorded queries that it was asked, 0 where there are none.
        changed: share of them whose first product changes.
    """

    slices: Mapping[str, NDArray[np.bool_]]
    cosines: Mapping[str, float]
    index_recall: float
    rows: int
    gallery: int
    int8_cosines: Mapping[str, float] = field(default_factory=dict)
    int8_gain: float | None = None
    over_baselines: Mapping[str, Mapping[str, Interval]] = field(default_factory=dict)
    replayed: int = 0
    changed: float = 0.0


class Rule(BaseModel):
    """One rule as it was judged: the line says it in words, the figures in numbers."""

    model_config = ConfigDict(frozen=True)

    name: str
    passed: bool
    line: str
    figures: dict[str, float]


class Decision(BaseModel):
    """The record of one promotion: what happened, why, and every rule."""

    model_config = ConfigDict(frozen=True)

    promoted: bool
    reason: str
    candidate: str
    champion: str | None
    rules: tuple[Rule, ...] = ()
    approval: dict[str, str] | None = None
    """A person's word: decision, reviewer, note."""


def decide(candidate: Candidate, champion: Measurement | None, params: Params) -> Decision:
    """Judge a candidate by every rule, from the number of its rows to recorded queries.

    Args:
        candidate: what was measured of it.
        champion: what clients are answered from today, measured on the same queries in the same
            order; None where there is no such collection, and the other rules decide.
        params: `promote`, the bootstrap's size and the seed.

    Returns:
        `promoted` with the number of rules that hold, or refused with the first rule that does not.
    """
    rules = tuple(_rules(candidate, champion, params))
    broken = [rule for rule in rules if not rule.passed]
    if broken:
        others = f" (and {len(broken) - 1} more)" if len(broken) > 1 else ""
        reason = f"refused: {broken[0].line}{others}"
    else:
        reason = f"promoted: all {len(rules)} rules hold"
    return Decision(
        promoted=not broken,
        reason=reason,
        candidate=candidate.collection,
        champion=champion.collection if champion else None,
        rules=rules,
    )


def _rules(candidate: Candidate, champion: Measurement | None, params: Params) -> Iterator[Rule]:
    limits = params.promote
    yield _rows(candidate)
    for network, cosine in candidate.cosines.items():
        yield _at_least(f"ONNX parity of {network}", cosine, limits.min_cosine)
    for network, cosine in candidate.int8_cosines.items():
        yield _at_least(f"int8 cosine of {network}", cosine, limits.min_int8_cosine)
    if candidate.int8_gain is not None:
        yield _at_least(f"int8 mAP@{DEPTH} less fp32's", candidate.int8_gain, -limits.max_int8_loss)
    yield _at_least(f"index recall@{DEPTH}", candidate.index_recall, limits.min_index_recall)
    ap, coverage = f"mAP@{DEPTH}", f"coverage@{DEPTH}"
    yield _at_least(ap, float(candidate.average_precision.mean()), limits.min_average_precision)
    yield _at_least(coverage, float(candidate.coverage.mean()), limits.min_coverage)
    if limits.beat_baselines:
        for name, metrics in candidate.over_baselines.items():
            for metric, interval in metrics.items():
                yield _not_below(name, f"{metric}@{DEPTH}", interval)
    if champion is None:
        return
    losses = {
        ap: candidate.average_precision - champion.average_precision,
        coverage: candidate.coverage - champion.coverage,
    }
    for name, difference in losses.items():
        yield _not_worse(name, difference, params)
    for name, members in candidate.slices.items():
        if members.sum() >= limits.min_slice:
            yield _slice_not_worse(name, members, losses, limits.slice_tolerance)
    yield _latency(candidate, champion, limits.max_latency_ratio)
    if limits.max_changed is not None and candidate.replayed >= limits.min_replayed:
        yield _changed(candidate, limits.max_changed)


def _rows(candidate: Candidate) -> Rule:
    return Rule(
        name="row count",
        passed=candidate.rows == candidate.gallery,
        line=f"the collection holds {candidate.rows} rows, the gallery {candidate.gallery}",
        figures={"rows": candidate.rows, "gallery": candidate.gallery},
    )


def _at_least(name: str, value: float, floor: float) -> Rule:
    passed = value >= floor
    return Rule(
        name=name,
        passed=passed,
        line=f"{name} {value:.4f} is {'at least' if passed else 'below'} its floor {floor:g}",
        figures={"value": value, "floor": floor},
    )


def _not_below(baseline: str, metric: str, difference: Interval) -> Rule:
    passed = difference.high >= 0
    return Rule(
        name=f"{metric} against the baseline {baseline}",
        passed=passed,
        line=(
            f"{metric} differs from that of the untrained baseline {baseline} by "
            f"{difference.mean:+.4f} (95 % from {difference.low:+.4f} to {difference.high:+.4f}), "
            f"{'not ' if passed else ''}below it"
        ),
        figures=vars(difference),
    )


def _not_worse(name: str, difference: Values, params: Params) -> Rule:
    interval = bootstrap(difference, params.evaluate.resamples, params.seed)
    tolerance = params.promote.tolerance
    passed = interval.low >= -tolerance
    return Rule(
        name=f"{name} against the champion",
        passed=passed,
        line=(
            f"{name} differs from the champion's by {interval.mean:+.4f} (95 % from "
            f"{interval.low:+.4f} to {interval.high:+.4f}), the lower bound "
            f"{'not ' if passed else ''}below -{tolerance:g}"
        ),
        figures={**vars(interval), "tolerance": tolerance},
    )


def _slice_not_worse(
    name: str, members: NDArray[np.bool_], losses: Mapping[str, Values], tolerance: float
) -> Rule:
    means = {metric: float(loss[members].mean()) for metric, loss in losses.items()}
    worst = min(means, key=lambda metric: means[metric])
    passed = means[worst] >= -tolerance
    return Rule(
        name=f"slice {name}",
        passed=passed,
        line=(
            f"{worst} of slice {name} ({members.sum()} queries) differs by {means[worst]:+.4f}, "
            f"{'no' if passed else 'a'} loss beyond {tolerance:g}"
        ),
        figures={**means, "queries": int(members.sum()), "tolerance": tolerance},
    )


def _latency(candidate: Measurement, champion: Measurement, limit: float) -> Rule:
    ratio = candidate.latency_ms / champion.latency_ms
    passed = ratio <= limit
    return Rule(
        name="query latency",
        passed=passed,
        line=(
            f"a query takes {candidate.latency_ms:.1f} ms, {ratio:.2f} times the champion's "
            f"{champion.latency_ms:.1f} ms, {'within' if passed else 'beyond'} {limit:g} times"
        ),
        figures={
            "candidate_ms": candidate.latency_ms,
            "champion_ms": champion.latency_ms,
            "ratio": ratio,
            "limit": limit,
        },
    )


def _changed(candidate: Candidate, limit: float) -> Rule:
    passed = candidate.changed <= limit
    return Rule(
        name="answers that clients had",
        passed=passed,
        line=(
            f"the first product changes for {candidate.changed:.1%} of {candidate.replayed} "
            f"recorded queries, {'within' if passed else 'beyond'} {limit:.1%}"
        ),
        figures={"changed": candidate.changed, "replayed": candidate.replayed, "limit": limit},
    )


def unchanged(collection: str) -> Decision:
    """The decision on a collection that serves already."""
    return Decision(
        promoted=True,
        reason=f"unchanged: {collection} is promoted already",
        candidate=collection,
        champion=collection,
    )
