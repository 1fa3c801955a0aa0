"""Served queries kept on disk, for replays and the drift watch."""
