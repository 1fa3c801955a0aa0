"""Figures of rankings and boxes: pure functions of arrays and ids that read no catalogue.

Who is ranked, and what the figures are written into, is in `evaluation` and `detection`.
"""
