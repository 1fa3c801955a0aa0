"""Training CAPTURE: batches, losses, the loop and its checkpoints.

The network and its pretext losses are in `models.capture`, the tokens in `tasks.tokens`.
"""
