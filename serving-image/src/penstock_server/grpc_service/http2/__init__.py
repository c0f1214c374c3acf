"""As much of HTTP/2 as gRPC needs, on one thread: a call that is there whole is answered in the same turn of the loop.

grpcio's own server takes 250 µs of CPU for an empty call, because each call wakes two other threads;
this takes 25 (docs/adr/0010-grpc-without-grpcio.md).
"""
