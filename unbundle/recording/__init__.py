"""Served queries kept on disk, for replays and the drift watch.

What is read out of them is in `tasks.monitoring`; live changes are kept in `index.journal`.
"""
