"""Visual tokens of boxes: the frozen backbone that computes them and the shards that hold them."""
