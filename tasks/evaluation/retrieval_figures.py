"""Rankings turned into figures; pure: no photos, no index."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tasks.base.params import DEPTH, Params
from tasks.calibration.open_set_trials import Trials, measure
from tasks.evaluation.diagnose_rankings import Diagnosis
from tasks.evaluation.queries import LabelledQueries
from tasks.evaluation.slices import Members, slices
from tasks.metrics.miss_causes import CAUSES
from tasks.metrics.product1m_protocol import Official, official
from tasks.metrics.ranking import Corrected, corrected, difference
from unbundle.encoding.model_bundle import OpenSetSettings
from unbundle.ranking.embedding_parts import Modality

Rankings = Mapping[str, list[str]]


@dataclass(frozen=True)
class Scores:
    """One collection on one set of queries.

    Attributes:
        corrected: per query; the gate reads it.
        official: by K.
        slices: membership of the queries `[N]` by slice.
        baselines: per query, by the baseline's name.
    """

    corrected: Corrected
    official: Mapping[int, Official]
    slices: Mapping[str, Members]
    baselines: Mapping[str, Corrected]


def score(
    rankings: Rankings,
    baselines: Mapping[str, Rankings],
    queries: LabelledQueries,
    fitted_split: str | None,
    params: Params,
) -> Scores:
    """Score a collection's rankings and the baselines' by both protocols.

    Args:
        rankings: gallery ids by query id.
        baselines: the same, by the baseline's name.
        queries: what was asked.
        fitted_split: the split that half of the bundle's weights were fitted on, if any.
        params: depths, slices, seed.
    """
    ks = params.evaluate.depths
    lines = list(rankings.items())
    return Scores(
        corrected=corrected(rankings, queries.labels, queries.gallery, ks, queries.junk),
        official={k: official(lines, queries.labels, queries.gallery, k) for k in ks},
        slices=slices(queries.frame, queries.gallery, fitted_split),
        baselines={
            name: corrected(ranked, queries.labels, queries.gallery, ks, queries.junk)
            for name, ranked in baselines.items()
        },
    )


def figures(
    scores: Scores,
    queries: LabelledQueries,
    diagnosis: Diagnosis,
    open_set: Mapping[Modality, OpenSetSettings],
    params: Params,
) -> Any:
    """Everything about a collection that `metrics/retrieval.json` holds, as JSON values."""
    settings = params.evaluate

    def summary(values: Corrected, k: int = DEPTH, members: Members | None = None) -> Any:
        return values.summary(k, settings.resamples, params.seed, members)

    pairs = sum(len(set(labels)) for labels in queries.labels.values())
    causes = Counter(miss.cause for miss in diagnosis.misses)
    return {
        "queries": {
            "split": queries.split,
            "composed": queries.composed,
            "count": len(queries.labels),
            "with_a_repeated_label": sum(
                len(set(labels)) < len(labels) for labels in queries.labels.values()
            ),
            "digest": queries.digest,
        },
        "corrected": {f"top{k}": summary(scores.corrected, k) for k in settings.depths},
        "official": {f"top{k}": result.as_json() for k, result in scores.official.items()},
        "official_failures": {
            f"top{k}": len(result.failures) for k, result in scores.official.items()
        },
        "baselines": {name: summary(values) for name, values in scores.baselines.items()},
        # CAPTURE less the baseline, query by query.
        "against_baselines": {
            name: summary(difference(scores.corrected, values))
            for name, values in scores.baselines.items()
        },
        "slices": {
            name: {"queries": int(members.sum()), **summary(scores.corrected, members=members)}
            for name, members in scores.slices.items()
        },
        f"misses_at_{DEPTH}": {
            "products_asked": pairs,
            **{cause: causes[cause] for cause in CAUSES},
        },
        "known": _known(scores, diagnosis, open_set),
        "index": {f"recall@{DEPTH}": round(float(np.mean(diagnosis.recalls)), 6)},
    }


def _known(
    scores: Scores,
    diagnosis: Diagnosis,
    open_set: Mapping[Modality, OpenSetSettings],
) -> dict[str, Any] | None:
    held_out = scores.slices.get("held out")
    unseen = Trials.joined(
        [
            diagnosis.trials[query]
            for place, query in enumerate(scores.corrected.queries)
            if held_out is None or held_out[place]
        ]
    )
    return measure(unseen, open_set)
