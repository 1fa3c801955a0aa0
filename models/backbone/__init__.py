"""Frozen backbones that turn a crop into visual tokens, colours included."""
