"""The bundle of ONNX networks, and photos and titles turned into vectors by it.

How vectors become scores is in `ranking`; who makes a bundle is `tasks.model_bundle`.
"""
