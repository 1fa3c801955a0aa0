"""How flows run things: DVC stages and their shards, child processes, the gate, a terminal.

Which of them run in which order is in the flows; what they leave to look at is in `reporting`.
"""
