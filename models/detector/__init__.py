"""The detector: network, configuration and loss.

Its training is in `tasks.detection`, the choice among its boxes in `unbundle.vision.proposals`.
"""
