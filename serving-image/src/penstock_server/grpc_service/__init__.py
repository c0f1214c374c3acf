"""Open Inference Protocol v2 over gRPC, beside the REST protocol."""
