"""The classification extension: the largest values of an output, as text."""

import math
from collections.abc import Sequence

import numpy as np

from penstock_server.protocol.types import Array

_VECTOR = 1


def classes(array: Array, count: int, labels: Sequence[int] | Sequence[str] = ()) -> Array:
    """Return the ``count`` largest values of each row as ``value:index``, the largest first.

    Where the model names its classes: as ``value:index:label``.

    The first of two equal values comes first. A tensor of one dimension is one row; further
    dimensions than two are one.
    """
    matrix = array.ndim > _VECTOR
    rows = array.reshape(array.shape[0], math.prod(array.shape[1:])) if matrix else array.reshape(1, array.size)
    best = np.argsort(-rows.astype(np.float64), axis=1, kind="stable")[:, :count]
    texts = np.empty(best.shape, dtype=np.object_)
    for row, indices in enumerate(best):
        for place, index in enumerate(indices):
            text = f"{rows[row, index]:f}:{index}"
            texts[row, place] = f"{text}:{labels[index]}" if index < len(labels) else text
    return texts if matrix else texts[0]
