"""Scores as pure arithmetic: the embedding's terms, rank fusion, the open-set probability."""
