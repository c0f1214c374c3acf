"""Whether numbers look like probabilities."""

import numpy as np

from penstock_server.protocol import Array

_BINARY = 2
_SUM_TOLERANCE = 1e-3


def are_probabilities(matrix: Array) -> bool:
    """Return whether rows look like probabilities: between 0 and 1, adding up to 1 where there are several."""
    values = matrix[np.isfinite(matrix).all(axis=1)].astype(np.float64)
    if not values.size or values.min() < 0 or values.max() > 1:
        return False
    if matrix.shape[1] == 1:
        return bool(len(np.unique(values)) > _BINARY)  # 0 and 1 alone are decisions
    return bool(np.abs(values.sum(axis=1) - 1).max() < _SUM_TOLERANCE)
