"""Any training checkpoint into a Hugging Face model: streamed, verified, and read without running what is in it."""

from tbrm_bench.merge.check import check
from tbrm_bench.merge.checkpoint import Checkpoint, CheckReport, MergeReport
from tbrm_bench.merge.detect import detect, steps_in
from tbrm_bench.merge.flow import merge
from tbrm_bench.merge.model.manifest import is_merge_of

__all__ = ["CheckReport", "Checkpoint", "MergeReport", "check", "detect", "is_merge_of", "merge", "steps_in"]
