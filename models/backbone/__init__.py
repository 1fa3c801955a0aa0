"""Frozen backbones that turn a crop into visual tokens, colours included.

Running them over a catalogue is in `tasks.tokens`, over a query in `unbundle.encoding`.
"""
