"""The ten figures that a person compares between two runs, of all that the evaluation measures."""

from collections.abc import Mapping
from typing import Any

from tasks.base.params import DEPTH


def headline(figures: Mapping[str, Any]) -> dict[str, float | None]:
    """The file `metrics/headline.json`, of which `dvc metrics show` and `dvc exp show` tell.

    Args:
        figures: `tasks.evaluation.retrieval_figures.figures`.

    Returns:
        By name, None where a catalogue does not tell: `queries`; mean average precision and
        instance coverage, of unbundle and the best of the untrained baselines (`plain`); coverage
        of the queries with four products and more (`4+`); `missed boxes`, the share of products
        asked that the detector lost; and the open set's AUROC, the share of unknown products taken
        for known (`strangers`) and of known ones for unknown (`refused`).
    """
    best = figures["corrected"][f"top{DEPTH}"]
    misses = figures[f"misses_at_{DEPTH}"]
    bundles = figures["slices"].get("products=4+")
    known = figures["known"] or {}

    def plain(metric: str) -> float:
        return max(float(values[metric]["mean"]) for values in figures["baselines"].values())

    values = {
        "queries": figures["queries"]["count"],
        f"mAP@{DEPTH}": best["mAP"]["mean"],
        "plain mAP": plain("mAP"),
        f"cov@{DEPTH}": best["coverage"]["mean"],
        "plain cov": plain("coverage"),
        "cov 4+": bundles["coverage"]["mean"] if bundles else None,
        "missed boxes": misses["detector"] / max(misses["products_asked"], 1),
        "AUROC": known.get("auroc"),
        "strangers": known.get("false_accepts"),
        "refused": known.get("false_rejects"),
    }
    return {name: None if value is None else round(value, 4) for name, value in values.items()}
