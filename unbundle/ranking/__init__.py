"""Scores as pure arithmetic: the embedding's terms, rank fusion, the open-set probability.

Asks no index and runs no network; the weights are fitted in `tasks.calibration`.
"""
