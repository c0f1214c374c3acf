"""Names under which a split's parts appear in Envoy."""

from dataclasses import dataclass

#: Not allowed in names of Kubernetes objects, so it separates them without doubt.
SEPARATOR = "/"
#: Envoy ends the cluster's name at the first dot of a statistic; underscores do not occur in Kubernetes names.
_DOT_IN_STATS = "_"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterName:
    """The Envoy cluster of one revision behind one split.

    >>> ClusterName.parse_stats("shop/fraud_v1/fraud-7c9f2b41")
    ClusterName(namespace='shop', split='fraud.v1', revision='fraud-7c9f2b41')
    """

    namespace: str
    split: str
    revision: str

    def __str__(self) -> str:
        """Return the name of the cluster."""
        return SEPARATOR.join((self.namespace, self.split, self.revision))

    @property
    def stats(self) -> str:
        """The name of the cluster in statistics."""
        return str(self).replace(".", _DOT_IN_STATS)

    @classmethod
    def parse_stats(cls, text: str) -> "ClusterName":
        """Return the name that ``stats`` wrote. Raises ValueError for anything else."""
        namespace, split, revision = text.replace(_DOT_IN_STATS, ".").split(SEPARATOR)
        return cls(namespace=namespace, split=split, revision=revision)


def endpoint_name(namespace: str, split: str) -> str:
    """Return the name of a split's listener and of its route configuration."""
    return SEPARATOR.join((namespace, split))
