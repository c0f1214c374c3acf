"""The one error that a person is meant to read."""


class ClusterError(Exception):
    """Something the cluster cannot mend itself; the message names the thing and the remedy."""
