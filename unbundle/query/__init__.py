"""One query answered: boxes, search, re-ranking, the open-set score, prices.

Vectors come from `encoding`, hits from `index`, the arithmetic of scores from `ranking`.
"""
