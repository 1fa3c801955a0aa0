"""Pixels, boxes and local features, the same for training and shops.

No networks and no catalogue: those are in `encoding` and in `tasks`.
"""
