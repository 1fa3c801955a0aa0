"""What every training has in common: optimiser, schedule, average of the weights, checkpoint.

Batches, losses and loops are in `detection` and `pretraining`; networks are in `models`.
"""
