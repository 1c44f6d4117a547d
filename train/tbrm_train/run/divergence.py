"""What a diverged step leaves behind: its batch and what was not finite, in one file of the run folder.

    runs/x/diverged-000007.json
    {"step": 7, "error": "in step 7 the gradient of ... is not finite, ...", "seed": 3, "loss": 0.018,
     "terms": {"kl": 0.002, ...}, "norms": {}, "not_finite": {"policy": ["model.model.norm.weight"]},
     "samples": [{"task": "training", "id": "000017", "sample": 4, "seed": 91, "status": "correct", "reward": 1.0,
                  "finish_reason": "stop", "prompt_tokens": 61, "tokens": 20}, ...]}

Numbers that are not finite are written as strings, "nan" or "inf". A step is a function of the checkpoint before it and
of the seeds, so running the same command reproduces it.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tbrm_bench.files import write_text
from tbrm_train.algorithms.signals import Trajectory
from tbrm_train.output.checkpoint import Diverged
from tbrm_train.rollout.rewards import Rewarded
from tbrm_train.run.session import Session


@contextmanager
def batch_kept(
    session: Session, batch: Sequence[Rewarded], trajectories: Sequence[Trajectory], step: int
) -> Iterator[None]:
    """If the block raises Diverged, write the batch to a file and name the file in the error."""
    try:
        yield
    except Diverged as error:
        file = Path(session.recipe.output) / f"diverged-{step:06d}.json"
        facts = {"step": step, "error": str(error), "seed": session.recipe.seed, **error.facts}
        learnt = {"trajectories": len(trajectories), "rewards_learnt": [item.reward for item in trajectories]}
        if session.is_first:
            text = json.dumps(_worded({**facts, **learnt, "samples": [_sample(item) for item in batch]}), indent=1)
            write_text(file, text + "\n")
        raise Diverged(f"{error}; the batch is in {file}", error.facts) from None


def _sample(item: Rewarded) -> dict[str, Any]:
    sample = item.sample
    return {
        **{"task": sample.key.task, "id": sample.key.problem_id, "sample": sample.key.sample_index},
        **{"seed": sample.seed, "status": str(item.grade.status), "reward": item.reward},
        **{"finish_reason": sample.finish_reason, "prompt_tokens": sample.num_prompt_tokens},
        "tokens": len(sample.token_ids),
    }


def _worded(value: Any) -> Any:
    """Return the value as JSON can store it: numbers that are not finite as strings."""
    if isinstance(value, Mapping):
        return {key: _worded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_worded(item) for item in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
