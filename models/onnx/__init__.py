"""Networks as ONNX files, fp32 and int8: written, quantised, rounded.

Which files make a bundle, and how they follow torch, is in `tasks.model_bundle`.
"""
