"""Labelled queries asked of an index: baselines, slices, diagnosis, report, the ablation.

The figures' formulas are in `metrics`; what the gate makes of them is in `promotion`.
"""
