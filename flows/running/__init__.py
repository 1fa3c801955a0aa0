"""How flows run things: DVC, processes, stages, shards, remotes, the terminal."""
