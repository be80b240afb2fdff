"""The inverse that the linear models share."""

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

Matrix = NDArray[np.float64]


def ridge_inverse(gram: Matrix, ridge: float | Matrix) -> Matrix:
    """(gram + diag(ridge))⁻¹ of a symmetric gram (n, n), by Cholesky; `ridge` is a number or (n).

    The gram is overwritten. Raises ValueError where the sum is not positive definite.
    """
    gram[np.diag_indices(len(gram))] += ridge
    factor, info = linalg.lapack.dpotrf(gram, lower=True, overwrite_a=True)
    if info:
        raise ValueError(f"ridge must be above 0, not {ridge}")
    inverse, _ = linalg.lapack.dpotri(factor, lower=True, overwrite_c=True)
    return np.asarray(np.tril(inverse) + np.tril(inverse, -1).T)
