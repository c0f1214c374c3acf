"""Names under which a split's parts appear in Envoy."""

from dataclasses import dataclass
from enum import StrEnum

#: Not allowed in names of Kubernetes objects, so it separates them without doubt.
SEPARATOR = "/"
#: Envoy ends the cluster's name at the first dot of a statistic; underscores do not occur in Kubernetes names.
_DOT_IN_STATS = "_"
_GRPC = "grpc"


class Purpose(StrEnum):
    """How requests come to a cluster. Each has its own, so that they are counted apart."""

    SPREAD = "spread"
    MATCHED = "matched"
    MIRRORED = "mirrored"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterName:
    """The Envoy cluster of one revision behind one split; purpose and protocol are told where they are not the usual.

    >>> ClusterName.parse_stats("shop/fraud_v1/fraud-7c9f2b41").split
    'fraud.v1'
    >>> str(ClusterName(namespace="shop", split="fraud", revision="fraud-7c9f2b41", purpose=Purpose.MIRRORED))
    'shop/fraud/fraud-7c9f2b41/mirrored'
    >>> ClusterName.parse_stats("shop/fraud/fraud-7c9f2b41/grpc").grpc
    True
    """

    namespace: str
    split: str
    revision: str
    purpose: Purpose = Purpose.SPREAD
    grpc: bool = False

    def __str__(self) -> str:
        """Return the name of the cluster."""
        purpose = () if self.purpose is Purpose.SPREAD else (self.purpose,)
        protocol = (_GRPC,) if self.grpc else ()
        return SEPARATOR.join((self.namespace, self.split, self.revision, *purpose, *protocol))

    @property
    def stats(self) -> str:
        """The name of the cluster in statistics."""
        return str(self).replace(".", _DOT_IN_STATS)

    @classmethod
    def parse_stats(cls, text: str) -> "ClusterName":
        """Return the name that ``stats`` wrote. Raises ValueError for anything else."""
        namespace, split, revision, *rest = text.replace(_DOT_IN_STATS, ".").split(SEPARATOR)
        grpc = rest[-1:] == [_GRPC]
        purpose = rest[:-1] if grpc else rest
        if len(purpose) > 1:
            raise ValueError(f"{text!r} is no name of a split's cluster")
        return cls(
            namespace=namespace,
            split=split,
            revision=revision,
            purpose=Purpose(purpose[0]) if purpose else Purpose.SPREAD,
            grpc=grpc,
        )


def endpoint_name(namespace: str, split: str) -> str:
    """Return the name of a split's listener and of its route configuration."""
    return SEPARATOR.join((namespace, split))


def split_of(resource: str) -> str:
    """Return the split that a cluster, a listener or a route configuration belongs to, by its name.

    >>> split_of("shop/fraud"), split_of("shop/fraud/fraud-7c9f2b41/mirrored")
    ('fraud', 'fraud')
    """
    return resource.partition(SEPARATOR)[2].partition(SEPARATOR)[0]


def endpoint_of(cluster: str) -> str:
    """Return the name of the listener whose routes may name a cluster.

    >>> endpoint_of("shop/fraud/fraud-7c9f2b41"), endpoint_of("shop/fraud/fraud-7c9f2b41/mirrored")
    ('shop/fraud', 'shop/fraud')
    """
    return endpoint_name(*cluster.split(SEPARATOR)[:2])
