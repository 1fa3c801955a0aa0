"""What every stage is run with: parameters, paths, progress, digests, curves.

Knows nothing of catalogues: those are in `data`. Whole files and errors are in `unbundle.base`.
"""
