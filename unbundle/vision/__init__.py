"""Pixels, boxes and local features: no networks and no catalogue."""
