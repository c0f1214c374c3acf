"""The model server of Penstock, and what fetches its model."""

import os

# Here, because ONNX Runtime reads its environment while it is imported, and nothing of ours is imported before this.
# Its official builds send usage events to their maker unless told not to; a server of other people's models must not.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
# With it, a model file could choose session options of its own.
os.environ.pop("ORT_LOAD_CONFIG_FROM_MODEL", None)
# numpy would start a thread for each core of the node, for products of large matrices: ours are small.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
