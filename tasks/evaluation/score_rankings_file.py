"""Scores a rankings file against Product1M's annotation files; needs no pipeline, no photos."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tasks.base.params import Params
from tasks.data.product1m import Annotation, annotation_file, read_annotations
from tasks.metrics.product1m_protocol import Official, Ranking, official
from tasks.metrics.ranking import corrected
from tasks.metrics.rankings_file import read_rankings
from unbundle.base.errors import UserError

Protocol = Literal["official", "corrected"]
Split = Literal["test", "dev", "all"]

_SPLITS = {"test": ("test",), "dev": ("dev",), "all": ("test", "dev")}


def score_file(
    rankings: Path, annotations: Path, protocol: Protocol, split: Split, params: Params
) -> dict[str, Any]:
    """Score a rankings file; the result says which queries its figures cover.

    Lines of the other split's queries are left out and counted. Split `all` looks queries up in
    both files, as the published script does.

    Args:
        rankings: Product1M's `retrieval_id_list.txt`.
        annotations: the folder of `product1m_{gallery,dev,test}_ossurl_v2.txt`.
        protocol: `official` averages over the lines, `corrected` over the split's queries.
        split: whose queries.
        params: `evaluate` (depths, bootstrap) and the seed.

    Raises:
        UserError: a file is missing or malformed, or nothing is ranked; corrected only: a query
            that is not annotated or that comes twice, an id twice in a ranking.
    """
    annotated = _Annotated.read(annotations, split)
    lines = read_rankings(rankings)
    kept = [line for line in lines if line[0] not in annotated.others]
    if not kept:
        raise UserError(f"{rankings}: no query of split {split}; give --split or another file")
    score = _official if protocol == "official" else _corrected
    return {
        "protocol": protocol,
        **score(rankings, kept, annotated, params),
        "queries": {
            "covers": _covers(protocol, split, len(kept), len(annotated.queries)),
            "split": split,
            "annotated": len(annotated.queries),
            "ranked": len({query for query, _ in kept} & annotated.queries.keys()),
            "left_out_of_the_other_split": len(lines) - len(kept),
            "with_a_repeated_label": sum(
                len(set(labels)) < len(labels) for labels in annotated.queries.values()
            ),
            "in_both_dev_and_test": annotated.shared,
            "gallery_items": len(annotated.gallery),
        },
    }


def _covers(protocol: Protocol, split: Split, lines: int, queries: int) -> str:
    if protocol == "official":
        return f"the mean over {lines} lines of the rankings file, split {split}"
    return f"the mean over all {queries} annotated queries of split {split}; an unranked one is 0"


@dataclass(frozen=True)
class _Annotated:
    queries: Mapping[str, Sequence[str]]
    others: frozenset[str]
    """Queries of the split that is not asked for, and of it alone."""
    shared: int
    gallery: Mapping[str, str]

    @staticmethod
    def read(folder: Path, split: Split) -> "_Annotated":
        by_split = {
            name: {row.id: row.labels for row in _read(folder, name)}
            for name in _SPLITS["all"]
            if name in _SPLITS[split] or annotation_file(folder, name).exists()
        }
        queries = {
            query: labels for name in _SPLITS[split] for query, labels in by_split[name].items()
        }
        everything = {query for rows in by_split.values() for query in rows}
        shared = set(by_split.get("test", ())) & set(by_split.get("dev", ()))
        return _Annotated(
            queries, frozenset(everything - queries.keys()), len(shared), _gallery(folder)
        )


def _gallery(folder: Path) -> dict[str, str]:
    rows = _read(folder, "gallery")
    # The published script looks at an item's first label only.
    return {row.id: row.labels[0] for row in rows}


def _read(folder: Path, name: str) -> list[Annotation]:
    path = annotation_file(folder, name)
    if not path.is_file():
        raise UserError(f"{path}: no such file; give --annotations its folder")
    rows = read_annotations(path)
    bare = next((row.id for row in rows if not row.labels), None)
    if bare is not None:
        raise UserError(f"{path}: id {bare}: no label; only training items have none")
    return rows


def _official(
    path: Path, lines: Sequence[Ranking], annotated: _Annotated, params: Params
) -> dict[str, Any]:
    by_k: dict[str, Official] = {
        f"top{k}": official(lines, annotated.queries, annotated.gallery, k)
        for k in params.evaluate.depths
    }
    return {
        "official": {name: result.as_json() for name, result in by_k.items()},
        "failures": {
            name: [vars(failure) for failure in result.failures] for name, result in by_k.items()
        },
    }


def _corrected(
    path: Path, lines: Sequence[Ranking], annotated: _Annotated, params: Params
) -> dict[str, Any]:
    rankings: dict[str, Sequence[str]] = {}
    for query, ids in lines:
        if query not in annotated.queries:
            raise UserError(f"{path}: query {query!r} is not annotated; remove its line")
        if query in rankings:
            raise UserError(f"{path}: query {query} comes twice; keep one line of it")
        rankings[query] = ids[: params.evaluate.depth]
    result = corrected(rankings, annotated.queries, annotated.gallery, params.evaluate.depths)
    resamples, seed = params.evaluate.resamples, params.seed
    return {
        "corrected": {f"top{k}": result.summary(k, resamples, seed) for k in params.evaluate.depths}
    }
