"""Is this completion right? Extraction, normalisation, equivalence, and the processes that keep them safe."""

from tbrm_bench.grading.grader import GRADER, grade
from tbrm_bench.grading.normalize import normalize_gold
from tbrm_bench.grading.pool import GraderPool

__all__ = ["GRADER", "GraderPool", "grade", "normalize_gold"]
