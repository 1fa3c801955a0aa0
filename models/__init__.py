"""The networks in torch, their configurations and losses, and their export to ONNX.

Training loops are in `tasks`; `unbundle` runs the exported files without torch.
"""
