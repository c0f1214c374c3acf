"""The Penstock serving image: an Open Inference Protocol v2 server for ONNX models."""
