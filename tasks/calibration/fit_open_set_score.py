"""The open-set score's model, fitted on trials: logistic regression, boosted trees, threshold."""

import math
from typing import Any

import numpy as np

from tasks.calibration.open_set_trials import Trials
from unbundle.encoding.model_bundle import OpenSetSettings
from unbundle.ranking.open_set_model import FEATURES, Tree

_PULL = 0.1
"""Inverse strength of the regularisation of the linear weights (scikit-learn's C)."""


_TREES = 80
"""Boosted trees that correct the weighted features."""


_SHARE = 0.05
"""Learning rate of the boosting."""


_TREE_DEPTH = 2
"""Of a tree, and so how many features can interact."""


_LEAF = 20
"""Trials in a leaf at least; from fewer than four times as many trials one tree is fitted."""


_TRIED = 0.3
"""Share of the features that a split chooses from, drawn at random."""


_FOLDS = 10
"""Folds of the cross-validation, over products: the shop meets others than those of the fit."""


def fit_open_set(found: Trials, false_accepts: float) -> OpenSetSettings | None:
    """Fit the probability that a product is in the gallery, and the threshold of `in_catalogue`.

    A logistic regression of the features, and small trees that are boosted from it (Friedman 2001),
    in which features interact: skew tells something only where there are inliers. The threshold
    comes from cross-validated probabilities, each of a model that saw no trial of its product: on
    the products that fitted it a model accepts fewer unknown ones than on later ones. As in
    cross-conformal prediction (Vovk 2015) it is the quantile of n + 1 probabilities, one more than
    were seen, so that few trials do not promise what they cannot know.

    Args:
        found: the trials of one modality.
        false_accepts: share of unknown products whose probability may reach the threshold.

    Returns:
        Weights, trees and threshold; None without at least one trial of either outcome.
    """
    from sklearn.model_selection import GroupKFold, cross_val_predict

    if found.known.all() or not found.known.any():
        return None
    model = _boosted(len(found.known)).fit(found.features, found.known)
    probabilities = (
        cross_val_predict(
            model,
            found.features,
            found.known,
            groups=found.products,
            cv=GroupKFold(_FOLDS),
            method="predict_proba",
        )
        if len(np.unique(found.products)) >= _FOLDS
        else model.predict_proba(found.features)
    )
    strangers = probabilities[~found.known, 1]
    rank = min(math.ceil((len(strangers) + 1) * (1 - false_accepts)), len(strangers))
    threshold = float(np.sort(strangers)[rank - 1])
    weights, trees = _readable(model)
    return OpenSetSettings(weights=weights, trees=trees, threshold=round(threshold, 6))


def _boosted(trials: int) -> Any:
    from sklearn.ensemble import GradientBoostingClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    # Strongly regularised: the features are correlated, and trials are a few hundred.
    linear = make_pipeline(StandardScaler(), LogisticRegression(C=_PULL, max_iter=1000))
    return GradientBoostingClassifier(
        init=linear,
        # scikit-learn fits one tree at least.
        n_estimators=_TREES if trials >= 4 * _LEAF else 1,
        learning_rate=_SHARE,
        max_depth=_TREE_DEPTH,
        min_samples_leaf=_LEAF,
        max_features=_TRIED,
        random_state=0,
    )


def _readable(model: Any) -> tuple[dict[str, float], tuple[Tree, ...]]:
    """Weights by feature, with `bias`, and trees of a fitted model, as `bundle.json` has them."""
    scaler, linear = (step for _, step in model.init_.steps)
    slopes = linear.coef_[0] / scaler.scale_
    weights = dict(zip(FEATURES, slopes.tolist(), strict=True))
    weights["bias"] = float(linear.intercept_[0] - slopes @ scaler.mean_)
    trees = []
    for row in model.estimators_[:, 0]:
        nodes = row.tree_
        trees.append(
            Tree(
                feature=tuple(
                    -1 if left < 0 else int(feature)
                    for feature, left in zip(nodes.feature, nodes.children_left, strict=True)
                ),
                limit=tuple(round(value, 6) for value in nodes.threshold.tolist()),
                left=tuple(nodes.children_left.tolist()),
                right=tuple(nodes.children_right.tolist()),
                value=tuple(round(_SHARE * value, 6) for value in nodes.value[:, 0, 0].tolist()),
            )
        )
    return {name: round(value, 6) for name, value in weights.items()}, tuple(trees)
