"""CAPTURE: the network and its configuration, its losses, its tokenizer, its ONNX heads."""
