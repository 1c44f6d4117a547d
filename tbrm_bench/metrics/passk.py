"""pass@k: the chance that at least one of k samples of a question is correct.

Source: Chen et al. 2021, "Evaluating Large Language Models Trained on Code", arXiv 2107.03374, section 2.1. With n
samples of a question of which c are correct, the unbiased estimate is 1 - C(n - c, k) / C(n, k), the share of the
k-subsets of the n samples that hold a correct one. Undefined (NaN) where n < k.

Example: n = 4 samples, c = 1 correct: pass@1 = 1/4, pass@2 = 1 - 3/6 = 1/2, pass@4 = 1, pass@5 = NaN.

We sum the chance that the first correct sample is the j-th drawn,

    pass@k = sum over j = 0 .. k-1 of  q_j * c / (n - j),    q_j = product over i = 0 .. j-1 of (n - c - i) / (n - i),

which equals the formula above. Every term is positive: nothing cancels, so the relative error stays near k times the
machine epsilon even where pass@k is tiny; pass@1 is c / n to the last bit; and the curve never falls.

Legend: Q questions, K the largest k.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]


def pass_at_k_curve(num_samples: ArrayLike, num_correct: ArrayLike, *, max_k: int) -> FloatArray:
    """Return pass@1 .. pass@max_k of every question, shape (Q, max_k), each in [0, 1].

    `num_samples` (n) and `num_correct` (c) have shape (Q,). Column k - 1 holds pass@k; it is NaN where n < k.
    Raises ValueError unless 0 <= c <= n and max_k >= 1.
    """
    n, c = np.broadcast_arrays(np.asarray(num_samples, np.int64), np.asarray(num_correct, np.int64))
    if n.ndim != 1:
        raise ValueError(f"expected one count per question, shape (Q,), not shape {n.shape}")
    if np.any((c < 0) | (c > n)):
        raise ValueError("the number of correct samples is not between 0 and the number of samples")
    if max_k < 1:
        raise ValueError(f"k must be at least 1, not {max_k}")
    n, c = n[:, None], c[:, None]  # (Q, 1)
    j = np.arange(max_k)  # (K,)
    num_left = np.maximum(n - j, 1)  # what is drawn from at draw j; the 1 only keeps undefined cells from dividing by 0
    all_wrong_so_far = np.cumprod(np.maximum(n - c - j, 0) / num_left, axis=1)  # q_1 .. q_K
    all_wrong_before = np.concatenate([np.ones_like(n, np.float64), all_wrong_so_far[:, :-1]], axis=1)  # q_0 .. q_K-1
    curve = np.cumsum(all_wrong_before * c / num_left, axis=1)  # (Q, K)
    # With more draws than wrong samples one is correct for sure; the sum may miss 1 by a rounding.
    curve = np.where(j + 1 > n - c, 1.0, np.minimum(curve, 1.0))
    return np.where(j + 1 > n, np.nan, curve)


def pass_at_k(num_samples: ArrayLike, num_correct: ArrayLike, *, k: int) -> FloatArray:
    """Return pass@k of every question, shape (Q,); NaN where a question has fewer than k samples."""
    return pass_at_k_curve(num_samples, num_correct, max_k=k)[:, k - 1]


def mean_pass_at_k(num_samples: ArrayLike, num_correct: ArrayLike, *, k: int) -> float:
    """Return the mean of pass@k over the questions; NaN if any is NaN or if there is none."""
    values = pass_at_k(num_samples, num_correct, k=k)
    return float(values.mean()) if values.size else float("nan")
