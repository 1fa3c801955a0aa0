"""Figures of rankings and boxes: pure functions of arrays and ids that read no catalogue."""
