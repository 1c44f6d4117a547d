"""The algorithms: each is one file here, one line of ALGORITHMS and one page, docs/algorithms/<name>.md.

    ALGORITHMS["grpo"].coefficients(clip_high=0.28)  ->  Grpo(clip_low=0.2, clip_high=0.28, ...)

Recipes, their rules, the learner, comparisons and their ledgers look up here what an algorithm reads and needs.
"""

from typing import Any

from tbrm_train.algorithms import astarpo, drgrpo, grpo, ppo, reinforce, tbrm
from tbrm_train.algorithms.signals import Algorithm

ALGORITHMS: dict[str, Algorithm[Any]] = {
    "tbrm": tbrm.TBRM,
    "ppo": ppo.PPO,
    "grpo": grpo.GRPO,
    "drgrpo": drgrpo.DRGRPO,
    "reinforce": reinforce.REINFORCE,
    "astarpo": astarpo.ASTARPO,
}
