"""The update of a low-rank adapter, computed for a few rows at a time.

    W + scale * B @ A        W (out, in), B (out, r), A (r, in); arXiv:2106.09685

`fan_in_fan_out` layers (Conv1D) and embeddings store W as (in, out): their update is the transpose. The sum is taken in
float32 and rounded once, to the type that is written.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class LowRank:
    """scale * left (rows, r) @ right (r, width)."""

    left: Numbers
    right: Numbers
    scale: float

    def rows(self, start: int, stop: int) -> Numbers:
        """Return the update's rows [start, stop). -> (stop - start, width)"""
        return (self.left[start:stop] @ self.right) * np.float32(self.scale)
