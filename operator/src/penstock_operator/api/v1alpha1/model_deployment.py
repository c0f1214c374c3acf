"""ModelDeployment: which model is served, how, and with how much."""

from typing import Any

from pydantic import Field

from penstock_operator.api.duration import Duration, parse_duration
from penstock_operator.api.model import ApiModel

KIND = "ModelDeployment"


class Credentials(ApiModel):
    """Where the fetching container finds its credentials."""

    secret_name: str


class ModelFile(ApiModel):
    """A file that belongs to the model, pinned like it."""

    path: str
    sha256: str
    uri: str | None = None


class Profile(ApiModel):
    """The reference for drift, pinned like the model."""

    sha256: str
    uri: str | None = None


class Model(ApiModel):
    """The model file, pinned by its digest."""

    uri: str
    sha256: str
    version: str | None = None
    files: list[ModelFile] = Field(default_factory=list)
    profile: Profile | None = None
    credentials: Credentials | None = None


class Concurrency(ApiModel):
    """How many requests one pod runs at once, and how many may wait."""

    max: int = 64
    queue: int = 256


class Batching(ApiModel):
    """Rows of several requests in one run of the model."""

    max_rows: int = 32
    max_delay: Duration = parse_duration("0s")


class Grpc(ApiModel):
    """The protocol over gRPC, on a port of its own."""

    enabled: bool = True


class PredictionLog(ApiModel):
    """A sample of requests with their answers, as JSON lines."""

    destination: str
    sample: float = 0.01
    credentials: Credentials | None = None


class Serving(ApiModel):
    """How a pod answers."""

    model_name: str | None = None
    timeout: Duration = parse_duration("30s")
    concurrency: Concurrency = Concurrency()
    batching: Batching | None = None
    grpc: Grpc = Grpc()
    prediction_log: PredictionLog | None = None


Quantities = dict[str, str | int]


class Resources(ApiModel):
    """Kubernetes resource quantities of one serving pod."""

    requests: Quantities = {"cpu": "250m", "memory": "256Mi"}  # noqa: RUF012 - pydantic copies defaults
    limits: Quantities = {"memory": "512Mi"}  # noqa: RUF012


class LocalObject(ApiModel):
    """The name of an object in the same namespace."""

    name: str


class Pod(ApiModel):
    """The allow-listed part of a pod that a user may shape."""

    node_selector: dict[str, str] = Field(default_factory=dict)
    tolerations: list[dict[str, Any]] = Field(default_factory=list)
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)
    priority_class_name: str | None = None
    image_pull_secrets: list[LocalObject] = Field(default_factory=list)


class Autoscaling(ApiModel):
    """How many pods, by their load."""

    min_replicas: int = 2
    max_replicas: int
    target_cpu_utilization: int = Field(default=70, alias="targetCPUUtilization")


class ModelDeploymentSpec(ApiModel):
    """What a user asks for."""

    model: Model
    replicas: int = 2
    autoscaling: Autoscaling | None = None
    serving: Serving = Serving()
    resources: Resources = Resources()
    pod: Pod = Pod()
    revision_history_limit: int = 10
