"""Pictures made of catalogue photos: cut-outs, pseudo-bundles, views of products.

Drawn catalogues are in `demo`; what learns from these pictures is in `detection` and `pretraining`.
"""
