"""What the servers are asked: which model, how many rows, over how many connections."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """One kind of request."""

    name: str
    model: str
    rows: int
    connections: tuple[int, ...]
    says: str


#: The name under which the way through the router is measured, with the direct way as its base.
ROUTED = "routed"

WORKLOADS = (
    Workload(name="gbm-1", model="gbm", rows=1, connections=(1, 16, 64), says="gradient boosting, 30 features, 1 row"),
    Workload(name="gbm-32", model="gbm", rows=32, connections=(16,), says="gradient boosting, 30 features, 32 rows"),
    Workload(name="mlp", model="mlp", rows=1, connections=(16,), says="small MLP, 256 inputs, 1 row"),
    # Few connections: the slow servers need a second for a few of these.
    Workload(name="tensor", model="tensor", rows=1, connections=(4,), says="a float tensor of 1 MiB"),
)


def says(workload: str) -> str:
    """Return what a workload is called where a person reads it."""
    known = {each.name: each.says for each in WORKLOADS}
    return known.get(workload, f"{WORKLOADS[0].says}, JSON, directly and through the router")
