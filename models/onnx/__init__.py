"""Networks as ONNX files, fp32 and int8; `tasks.bundling` measures how they follow torch."""
