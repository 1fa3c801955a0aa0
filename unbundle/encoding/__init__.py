"""The bundle of ONNX networks, and photos and titles turned into vectors by it."""
