"""From products of vectors to structures, in machine code: each atom's best match, and of these the worst."""

import numpy as np
from numba import njit

from generators.grids.compiled import COMPILED


@njit(**COMPILED)
def worst_of_best(products, known_bounds, query_bounds, worst):  # type: ignore[no-untyped-def]
    """Smallest over a query's rows of the largest product with any row of a known structure.

    Parameters
    ----------
    products : array of float32 or float64, shape (n_known_rows, n_query_rows)
    known_bounds, query_bounds : array of int64, shape (n_known + 1,), (n_queries + 1,)
        Where each structure's and each query's rows begin, and where the last ones end; none is empty.
    worst : array of the same type, shape (n_known, n_queries)
        Lowered where what is found is lower.
    """
    width = products.shape[1]
    best = np.empty(width, dtype=products.dtype)
    for structure in range(len(known_bounds) - 1):
        best[:] = products[known_bounds[structure]]
        for row in range(known_bounds[structure] + 1, known_bounds[structure + 1]):
            for column in range(width):
                product = products[row, column]
                best[column] = product if product > best[column] else best[column]
        for query in range(len(query_bounds) - 1):
            lowest = worst[structure, query]
            for column in range(query_bounds[query], query_bounds[query + 1]):
                lowest = best[column] if best[column] < lowest else lowest
            worst[structure, query] = lowest
