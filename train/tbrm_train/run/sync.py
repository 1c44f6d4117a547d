"""Weight sync after every step: the rollout engine gets the policy's weights, and a probe checks that it uses them."""

import math
from collections.abc import Sequence

from tbrm_bench.errors import RunFailed
from tbrm_train.algorithms.signals import Trajectory
from tbrm_train.learner.ranks import largest
from tbrm_train.output.checkpoint import diverged
from tbrm_train.recipes.rl_recipe import PROBE_TOLERANCE
from tbrm_train.rollout.sampling import Continuation, probe_differences
from tbrm_train.run.session import Session

NUM_PROBES = 4
UNCHANGED = 1e-5  # nats per token, in addition to twice the difference before
PROBE_TOKENS = 8  # of a prompt, as long as there is no response to probe with


def sync(session: Session, trajectories: Sequence[Trajectory] = (), *, is_first: bool = False) -> dict[str, float]:
    """Copy the weights to the engine and compare log-probabilities on some trajectories (at first on prompts).

    With `is_first` the engine has loaded these weights already. Returns `probe/mean` and `probe/max`, |difference| per
    token in nats. Raises RunFailed if the mean exceeds the recipe's tolerance, or if copying the same weights changes
    the engine: samples of another model are not samples of the policy.
    """
    probes = _probes(session, trajectories)
    before = session.rollouts.logprobs(probes) if is_first else None
    session.rollouts.load(session.learner.weights())
    ours, theirs = session.learner.logprobs(probes), session.rollouts.logprobs(probes)
    differences = list(probe_differences(ours, theirs))
    mean = largest(sum(differences) / len(differences), session.processes)
    if before is not None:
        _check_unchanged(session, list(probe_differences(ours, before)), mean)
    if not all(math.isfinite(logprob) for row in ours for logprob in row):
        raise diverged(session.recipe, "the policy's log-probabilities are not finite")
    recipe, dtype = session.recipe, session.recipe.deepspeed.dtype
    # Written so that NaN fails too.
    if not mean <= recipe.probe_tolerance:
        usual, cause = PROBE_TOLERANCE[dtype], "it does not sample from the policy"
        if dtype == "bfloat16" and mean <= usual:
            cause = f"bfloat16 alone causes such differences: set rollout.probe_tolerance={usual}"
        raise RunFailed(
            f"after the weight sync the {recipe.rollout.engine} engine's log-probabilities differ from the trainer's "
            f"by {mean:.2g} nats per token on a probe, more than rollout.probe_tolerance={recipe.probe_tolerance}; "
            f"{cause}"
        )
    return {"probe/mean": mean, "probe/max": largest(max(differences), session.processes)}


def _check_unchanged(session: Session, differences: Sequence[float], after: float) -> None:
    """Raise RunFailed if the engine was closer to the policy with the weights that it had loaded from files."""
    before = largest(sum(differences) / len(differences), session.processes)
    if before <= session.recipe.probe_tolerance and after > 2 * before + UNCHANGED:
        engine, name = session.recipe.rollout.engine, type(session.learner.policy.module.model).__name__
        other = "; use rollout.engine=hf" if engine == "vllm" else ""
        raise RunFailed(
            f"the {engine} engine does not load new weights of {name} as it loads them from files: given the very "
            f"weights that it had, its log-probabilities go from {before:.2g} to {after:.2g} nats per token off the "
            f"trainer's{other}"
        )


def _probes(session: Session, trajectories: Sequence[Trajectory]) -> list[Continuation]:
    if trajectories:
        return [Continuation(item.prompt, item.response) for item in trajectories[:NUM_PROBES]]
    prompts = [item.prompt.token_ids for item in session.prompts.train[:NUM_PROBES]]
    return [Continuation(ids[:-PROBE_TOKENS], ids[-PROBE_TOKENS:]) for ids in prompts]
