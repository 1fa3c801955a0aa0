"""CAPTURE: the network and its configuration, its losses, its tokenizer, its ONNX heads.

Its training is in `tasks.pretraining`; a shop runs it by `unbundle.encoding`.
"""
