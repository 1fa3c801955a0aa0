"""What a bundle learns on dev queries without touching a network: weights, rank fusion, open set.

Works on stored tokens and keypoints; Milvus is not asked. Figures of the index are in `evaluation`.
"""
