"""Training CAPTURE: batches, losses, the loop and its checkpoints; the network is in `models`."""
