"""The catalogue on disk: its table, photos, manifest, splits and the sources it comes from.

What a row must satisfy is in `validation`; what is drawn from photos is in `synthesis`.
"""
