"""What a training is made of, by content: a name may refer to something else at the next start.

    runs/x/inputs.json    written before the first step, checked at every start

    {"schema": 1, "from_step": 0,
     "facts": {"model": {"weights": "3f2a...", "config": "90ab..."}, "tokenizer": "77c0...", "prompts": {...}},
     "about": {"grader": "tbrm-1", "versions": {"torch": "2.13.0"}, "model": "/models/step-000050"}}

A difference in `facts` is refused: the reference would be another model, V* of other questions, a ranking of two
models. Versions, in `about`, are only reported: they may change the last bits of a step. `from_step` is above 0 if the
training started before this file existed.
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tbrm_bench.errors import RunFailed, UserError
from tbrm_bench.files import read_text, write_text
from tbrm_bench.grading import GRADER
from tbrm_bench.prompts.render import prompts_hash
from tbrm_bench.provenance import config_fingerprint, digest, versions
from tbrm_bench.records import Sampling
from tbrm_bench.run.plan import Plan
from tbrm_bench.store import diff_locks
from tbrm_bench.strict_json import checked_schema, parse_json
from tbrm_bench.tasks.problems import golds_hash, rows_hash
from tbrm_bench.weights import weights_fingerprint
from tbrm_train.data.prompts import PromptSet, TrainingPrompt
from tbrm_train.output.checkpoint import INPUTS
from tbrm_train.recipes.rl_recipe import Rewards

SCHEMA = 1
# What to set where a field is not the content of something that a recipe names.
KEYS = {f"prompts.{name}": f"rewards.{name}" for name in ("strict_boxed", "answer_tags")}
Facts = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Inputs:
    """The inputs of a training: `facts` decide its result, `about` has where they were found and the versions."""

    facts: Facts
    about: Mapping[str, Any]
    from_step: int = 0


def make_inputs(
    model_dir: Path,
    *,
    tokenizer: str,
    prompts: PromptSet,
    sampling: Sampling,
    rewards: Rewards,
    evaluation: Plan | None,
    reads_weights: bool = True,
) -> Inputs:
    """Return the current inputs; `tokenizer` is its digest; without `reads_weights` the weights may be None.

    Raises UserError if the model's files cannot be read.
    """
    # A plan has read them already.
    weights = evaluation.lock["model"]["weights"] if evaluation else None
    if weights is None and reads_weights:
        weights = weights_fingerprint(model_dir)
    facts = {
        "model": {"weights": weights, "config": config_fingerprint(model_dir)},
        "tokenizer": tokenizer,
        "prompts": {
            "train": _prompt_facts(prompts.train),
            "validation": _prompt_facts(prompts.validation),
            "stop_token_ids": list(sampling.stop_token_ids),
            "stop_strings": list(sampling.stop),
            "strict_boxed": rewards.strict_boxed,
            **({"answer_tags": True} if rewards.answer_tags else {}),
        },
        "evaluation": _task_facts(evaluation) if evaluation else {},
    }
    about = {"grader": GRADER, "versions": versions()}
    # As they are read back: JSON turns tuples into lists.
    return Inputs(json.loads(json.dumps(facts)), about)


def question_digest(item: TrainingPrompt) -> str:
    """Return 16 hex digits that identify a question, since ids may be reused: of its prompt's tokens and its gold."""
    return digest([prompts_hash([item.prompt]), golds_hash([item.problem])])[:16]


def _prompt_facts(items: Sequence[TrainingPrompt]) -> dict[str, Any]:
    return {
        "number": len(items),
        "tokens": prompts_hash(item.prompt for item in items),
        "golds": golds_hash(item.problem for item in items),
    }


def _task_facts(plan: Plan) -> dict[str, Any]:
    return {
        task.name: {
            "rows": rows_hash(task.problems),
            "prompts": prompts_hash(task.prompts),
            "samples": task.num_samples,
            "seed": plan.seed,
            **asdict(task.sampling),
        }
        for task in plan.tasks
    }


def write_inputs(output: Path, inputs: Inputs) -> None:
    """Write the file atomically."""
    write_text(output / INPUTS, json.dumps({"schema": SCHEMA, **asdict(inputs)}, indent=2) + "\n")


def read_inputs(output: Path) -> Inputs | None:
    """Return the stored inputs of a training, None without the file; raises RunFailed if it is damaged."""
    file = output / INPUTS
    if not os.path.lexists(file):
        return None
    try:
        stored = parse_json(read_text(file), place=str(file), fix="restore it or give output=DIR")
        stored = checked_schema(stored, SCHEMA, place=str(file), fix="use the version that wrote it")
        facts, about = ({**stored[name]} for name in ("facts", "about"))
        return Inputs(facts, about, int(stored["from_step"]))
    except UserError as error:
        raise RunFailed(str(error)) from None
    except (ValueError, KeyError, TypeError) as error:
        raise RunFailed(f"{file} cannot be read ({type(error).__name__}); restore it or give output=DIR") from None


def differences(one: Facts, other: Facts) -> list[tuple[str, str, str]]:
    """Return (`model.weights`, first value, second value), both shortened, for every field that differs."""
    return [(field, _short(first), _short(second)) for field, first, second in diff_locks(one, other)]


def check_same(output: Path, stored: Inputs, found: Inputs) -> None:
    """Raise UserError that names an input that has changed since the training was started."""
    changes = differences(stored.facts, found.facts)
    for field, then, now in changes[:1]:
        more = f" (and {len(changes) - 1} more inputs)" if len(changes) > 1 else ""
        fix = f"set {KEYS[field]} to what it was" if field in KEYS else "restore it"
        raise UserError(
            f"{output} was started with another input: {field} is {now}, it was {then}{more}{moved(stored, found)}; "
            f"{fix}, or give another folder, output=DIR"
        )


def moved(stored: Inputs, found: Inputs) -> str:
    """Return the current and the old path of the model if they differ, such as after a link has moved."""
    then, now = stored.about.get("model"), found.about.get("model")
    return "" if then == now else f"; the model is {now}, it was {then}"


def other_versions(stored: Inputs, found: Inputs) -> list[str]:
    """Return `torch 2.12.0, now 2.13.0` for every package whose version has changed."""
    then, now = ({"grader": item.about.get("grader"), **item.about.get("versions", {})} for item in (stored, found))
    return [f"{name} {old}, now {new}" for name, old, new in diff_locks(then, now)]


def _short(value: Any) -> str:
    """Return a digest's first twelve digits, and other values in at most 60 characters."""
    if isinstance(value, str) and len(value) == 64:
        return value[:12]
    return f"{json.dumps(value):.60}" if value is not None else "missing"
