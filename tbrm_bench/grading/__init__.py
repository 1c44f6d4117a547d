"""Is this completion right? Extraction, normalisation, equivalence, and the processes that keep them safe."""

from tbrm_bench.grading.explain import Explanation, explain
from tbrm_bench.grading.grader import GRADER, grade
from tbrm_bench.grading.many import grade_many
from tbrm_bench.grading.normalize import normalize_gold
from tbrm_bench.grading.workers.pool import GraderPool
from tbrm_bench.records import Gold, GradingPolicy

__all__ = [
    "GRADER",
    "Explanation",
    "Gold",
    "GraderPool",
    "GradingPolicy",
    "explain",
    "grade",
    "grade_many",
    "normalize_gold",
]
