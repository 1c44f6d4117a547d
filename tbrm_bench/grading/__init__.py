"""Is this completion right? Extraction, normalisation, equivalence, and the processes that keep them safe."""

from tbrm_bench.grading.normalize import normalize_gold

__all__ = ["normalize_gold"]
