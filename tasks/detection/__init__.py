"""Training the detector and running it over the catalogue.

The network is in `models.detector`, the pictures that it learns from in `synthesis`.
"""
