"""The one rule that says into which bin a value falls."""

from bisect import bisect_left
from collections.abc import Sequence

#: Quantile bins between the smallest and the largest reference value. Below, above, missing and infinite come on top.
QUANTILE_BINS = 32


def bin_of(value: float, edges: Sequence[float]) -> int:
    """Return the bin of a finite value: bin i holds ``edges[i - 1] < value <= edges[i]``; there are ``len(edges) + 1``.

    Edges include their own value because quantiles of data are values of the data: a number that half of all
    rows share then lies inside one bin, whichever way the last bit of the others falls. Vectorised, it is
    ``numpy.searchsorted(edges, values, side="left")`` with edges and values in the data type of the wire.

    >>> [bin_of(value, [0.0, 1.0]) for value in (-1.0, 0.0, 0.5, 1.0, 2.0)]
    [0, 0, 1, 1, 2]
    """
    return bisect_left(edges, value)
