"""The names that wrappers put around a model's own, taken off again; and what a model for generating does not need.

_fsdp_wrapped_module.model.layers.0._orig_mod.mlp.up_proj.weight   ->   model.layers.0.mlp.up_proj.weight
module.model.norm.weight                                           ->   model.norm.weight
v_head.summary.weight                                              ->   dropped: a value head
"""

import difflib
from collections.abc import Iterable
from fnmatch import fnmatchcase

from tbrm_bench.errors import UserError
from tbrm_bench.merge.pieces.tiling import Loaded, Parts

WRAPPERS = {"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "_forward_module"}
LEADING = ("module.", "pretrained_model.")
VALUE_HEADS = ("v_head.", "value_head.", "value_model.", "critic.", "critic_head.", "reward_head.")
POLICIES, CRITICS = {"policy", "actor"}, {"value_model", "value", "critic", "score"}
PEFT_TOP = "base_model"
INNER = {"model", "transformer", "lm_head", "gpt_neox", "embed_out"}  # the first part of a causal model's names
SCORE_HEADS = ("score.", "classifier.")
COMPUTED = ".rotary_emb.inv_freq"


def clean_names(loaded: Loaded, architecture: str) -> None:
    """Rename and drop in place; raises UserError if two names become one."""
    found: dict[str, Parts] = {}
    origin: dict[str, str] = {}
    outer = _outer_prefix(loaded.tensors)
    for name, parts in loaded.tensors.items():
        clean = clean_name(name, outer)
        reason = _why_dropped(clean, architecture)
        if reason is not None:
            loaded.dropped.append((name, reason))
        elif clean in found:
            raise UserError(
                f"{origin[clean]} and {name} are both {clean} without their wrappers; which is the model's?"
            )
        else:
            found[clean], origin[clean] = parts, name
    loaded.tensors = found
    loaded.buffers = {clean_name(name, outer) for name in loaded.buffers}
    loaded.shared = {clean_name(alias, outer): clean_name(name, outer) for alias, name in loaded.shared.items()}


def drop_matching(loaded: Loaded, patterns: Iterable[str]) -> None:
    """Leave out what the user named; raises UserError for a pattern that names nothing."""
    for pattern in patterns:
        names = [name for name in loaded.tensors if fnmatchcase(name, pattern)]
        if not names:
            near = difflib.get_close_matches(pattern, loaded.tensors, n=1)
            raise UserError(f"no tensor is named {pattern}" + (f"; did you mean {near[0]}?" if near else ""))
        for name in names:
            loaded.drop(name, "asked for")


def clean_name(name: str, outer: str = "") -> str:
    """Return the name without what wrappers put into it, and without the attribute `outer` before it."""
    name = _without_leading(".".join(part for part in name.split(".") if part not in WRAPPERS))
    return _without_leading(name.removeprefix(outer)) if outer and name.startswith(outer) else name


def wrapped_name(names: Iterable[str], architecture: str) -> str | None:
    """Return a name that a wrapper has put something into, or of a head that the class does not have; None if none
    has.
    """
    for name in names:
        if name.startswith(f"{PEFT_TOP}.") or "lora_A" in name or clean_name(name) != name:
            return name
        if _why_dropped(name, architecture) is not None and not name.endswith(COMPUTED):
            return name
    return None


def _without_leading(name: str) -> str:
    while prefix := next((prefix for prefix in LEADING if name.startswith(prefix)), ""):
        name = name.removeprefix(prefix)
    return name


def _outer_prefix(names: Iterable[str]) -> str:
    """Return the name of the attribute under which a wrapper keeps the model: a trainer's, a policy's with its critic.

    {"policy": model, "value_model": critic} is told by the two names, {"model": model} by a model's own names in it.
    """
    clean = [name for name in map(clean_name, names) if not name.startswith(VALUE_HEADS)]
    tops = {name.partition(".")[0] for name in clean}
    if tops & POLICIES and tops <= POLICIES | CRITICS and len(tops & POLICIES) == 1:
        return f"{(tops & POLICIES).pop()}."
    if len(tops) == 1:
        (top,) = tops
        if top == PEFT_TOP:
            return ""  # an adapter's names mean what PEFT makes them mean; `lora` reads them
        inner = {name.split(".")[1] for name in clean if "." in name}
        if inner & INNER and inner <= INNER | CRITICS:
            return f"{top}."
    return ""


def _why_dropped(name: str, architecture: str) -> str | None:
    if name.startswith(VALUE_HEADS):
        return "a value head or critic, which a language model does not have"
    if name.startswith(SCORE_HEADS) and architecture.endswith("ForCausalLM"):
        return f"a scoring head, which {architecture} does not have"
    if name.endswith(COMPUTED):
        return "computed from the config"
    return None
