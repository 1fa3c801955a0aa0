"""What a bundle learns on dev queries without touching a network: weights, fusion, open set, int8.

Works on stored tokens and keypoints; Milvus is not asked. Figures of the index are in `evaluation`.
"""
