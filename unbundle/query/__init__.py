"""One query answered: boxes, search, re-ranking, the open-set score, prices."""
