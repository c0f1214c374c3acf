"""Open Inference Protocol v2 over gRPC, beside the REST protocol. Imported only when its port is on: gRPC is large."""

import os

# Otherwise gRPC's C core, which reads this when it is imported, writes lines of its own for clients that go away.
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
