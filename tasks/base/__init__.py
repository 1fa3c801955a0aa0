"""What every stage is run with: parameters, paths, progress, digests, curves."""
