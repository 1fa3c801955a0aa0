"""Visual tokens of boxes: the frozen backbone that computes them and the shards that hold them.

The boxes are made in `detection` and `synthesis`; tokens of a query in `unbundle.encoding`.
"""
