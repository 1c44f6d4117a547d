"""Does an adapter's file fit its config and its base? Where it does not, a merge would not be the trained model.

    adapter_config.json   {"r": 8, "target_modules": ["q_proj", "k_proj"], "modules_to_save": ["lm_head"], ...}
    adapter_model.*       ...q_proj.lora_A.weight (8, in)    ...k_proj.lora_A.weight (8, in)    lm_head.weight

Ranks, targets and saved modules are held against the file, with PEFT's own rules for what a name means
(peft/tuners/tuners_utils.py, check_target_module_exists); each misfit names the two values and the way out.
"""

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from tbrm_bench.errors import UserError
from tbrm_bench.merge.formats.lora_settings import AdapterSettings
from tbrm_bench.merge.model.ties import EMBEDDINGS, HEADS

Shape = tuple[int, ...]
TRANSPOSED_TYPES = ("gpt2", "openai-gpt", "imagegpt", "decision_transformer")  # they keep Conv1D, (in, out)
TRANSPOSED_MODULES = ("c_attn", "q_attn", "c_proj", "c_fc")
MAX_NAMED = 3


def check_ranks(settings: AdapterSettings, ranks: Mapping[str, int]) -> None:
    """Raise UserError if a module's A has another rank than the config gives it: the scale would be another one."""
    for module, rank in ranks.items():
        if rank == 0:
            raise UserError(
                f"lora_A of {module} is empty, as where ZeRO-3 or FSDP shards were not gathered before the adapter was "
                "saved; save it anew"
            )
        wanted = settings.rank_of(module)
        if wanted is not None and wanted != rank:
            raise UserError(
                f"{settings.file} gives {module} the rank {wanted}, its lora_A has {rank} rows, and the scale is alpha "
                "over the rank; put the adapter_config.json beside the weights that was saved with them"
            )


def check_targets(
    settings: AdapterSettings,
    adapted: Collection[str],
    base: Mapping[str, Shape],
    class_names: Callable[[], Collection[str] | None],
) -> None:
    """Raise UserError if weights are there that the config does not target, or targets of the base have none.

    `class_names` are the parameters of the model's class (None: not known); it is asked only before something is
    refused: a file may hold layers that the class leaves alone.
    """
    config = settings.config
    wanted = config.get("target_modules")
    if not wanted or not adapted or wanted == "all-linear":
        return
    stray = sorted(module for module in adapted if not is_target(config, module) and not _is_tied(config, module))
    if stray:
        raise UserError(
            f"the adapter holds weights for {_some(stray)}, which its {settings.file} does not target "
            f"({_said(config)}): PEFT would leave them out; put the config beside them that was saved with them"
        )
    modules = {name.removesuffix(".weight") for name, shape in base.items() if _is_matrix(name, shape)}
    lacking = sorted(_lacking(config, adapted, {module for module in modules if is_target(config, module)}))
    known = class_names() if lacking else None
    lacking = [module for module in lacking if known is None or f"{module}.weight" in known]
    if lacking:
        raise UserError(
            f"{settings.file} targets {_some(lacking)} ({_said(config)}), of which the adapter holds no weights: is "
            "its file whole, and the config the one that was saved with it?"
        )


def check_saved(settings: AdapterSettings, saved: Mapping[str, Shape], base: Mapping[str, Shape]) -> None:
    """Raise UserError if a module of modules_to_save is not in the file, or a tensor has another shape than the base's.

    `saved` are the tensors of the file that replace the base's.
    """
    for module in settings.config.get("modules_to_save") or []:
        if any(_is_of(module, name) for name in base) and not any(_is_of(module, name) for name in saved):
            raise UserError(
                f"{settings.file} names {module} in modules_to_save, and the adapter holds no weights of it; copy the "
                "whole adapter file"
            )
    for name, shape in saved.items():
        if name in base and base[name] != shape:
            advice = (
                "the vocabulary was resized for training: resize the base likewise (resize_token_embeddings), save it "
                "with the tokenizer of the training, and give it with --base"
                if name.endswith((*EMBEDDINGS, *HEADS))
                else "is it the base that was trained on?"
            )
            raise UserError(f"the adapter holds {name} of shape {shape}, the base's is {base[name]}; {advice}")


def check_ties(
    settings: AdapterSettings, adapted: Collection[str], saved: Collection[str], tensors: Collection[str]
) -> None:
    """Raise UserError if only the embedding of a model with a tied head was trained: it has a head of its own then.

    `tensors` are all names of the merged model; a head among them is compared with the embedding in `ties`.
    """
    if any(name.endswith(HEADS) for name in tensors):
        return
    modules, has_tied = settings.config.get("modules_to_save") or [], bool(settings.config.get("ensure_weight_tying"))
    trained = [] if has_tied else [f"{module}.weight" for module in adapted]
    # PEFT 0.21 ties a saved head to `embed_tokens` alone: GPT-2's keeps the base's values.
    followed = "embed_tokens.weight" if has_tied else ()
    trained += [n for n in saved if any(_is_of(module, n) for module in modules) and not n.endswith(followed)]
    for name in trained:
        if name.endswith(EMBEDDINGS):
            raise UserError(
                f"the adapter changes {name}, to which the config ties the output head, and in training the head kept "
                "the base's values: one tensor cannot be both; train with ensure_weight_tying=True, or give a base "
                'with "tie_word_embeddings": false and an lm_head.weight of its own (--base)'
            )


def is_transposed(settings: AdapterSettings, module: str, model: Mapping[str, Any]) -> bool:
    """Return whether a module keeps its weight as (in, out): as PEFT does, by the layer, whatever the config says."""
    if "auto_map" in model or "model_type" not in model:
        return settings.fan_in_fan_out
    return model["model_type"] in TRANSPOSED_TYPES and module.rpartition(".")[2] in TRANSPOSED_MODULES


def names_another_base(settings: AdapterSettings, base: Path) -> str | None:
    """Return a warning if the config names another base than the folder's path does; equal shapes tell nothing."""
    named = settings.config.get("base_model_name_or_path")
    if not isinstance(named, str) or not named.strip("/ "):
        return None
    last = re.sub(r"[^a-z0-9]+", "", named.rstrip("/").rpartition("/")[2].lower())
    if not last or last in re.sub(r"[^a-z0-9]+", "", str(base.resolve()).lower()):
        return None
    return f"the adapter was trained on {named}, as its config says, and is merged into {base}: are these one model?"


def is_target(config: Mapping[str, Any], module: str) -> bool:
    """Return whether PEFT would adapt a module of this name."""
    excluded = config.get("exclude_modules") or []
    if re.fullmatch(excluded, module) if isinstance(excluded, str) else _ends_in(module, excluded):
        return False
    if any(re.match(rf"(^|.*\.){name}($|\..*)", module) for name in config.get("modules_to_save") or []):
        return False
    wanted = config["target_modules"]
    if isinstance(wanted, str):
        return re.fullmatch(wanted, module) is not None
    return module in wanted or (_ends_in(module, wanted) and _is_in_layers(config, module))


def _is_tied(config: Mapping[str, Any], module: str) -> bool:
    """Whether a module is a head that PEFT adapts because its embedding is."""
    return bool(config.get("ensure_weight_tying")) and f"{module}.weight".endswith(HEADS)


def _is_in_layers(config: Mapping[str, Any], module: str) -> bool:
    layers = config.get("layers_to_transform")
    if layers is None or layers == []:
        return True
    patterns = config.get("layers_pattern") or []
    if not patterns:
        found = re.match(r".*?\.[^.]*\.(?P<index>\d+)\.", module)
    else:
        names = [patterns] if isinstance(patterns, str) else patterns
        matches = (re.match(rf"(?:^|.*?\.){name}\.(?P<index>\d+)\.", module) for name in names)
        found = next(filter(None, matches), None)
    return found is not None and int(found["index"]) in ([layers] if isinstance(layers, int) else layers)


def _lacking(config: Mapping[str, Any], adapted: Collection[str], targets: Collection[str]) -> set[str]:
    """Return the targets without weights, but for experts none of which has any: their class may keep them fused."""
    kinds = {_kind(module) for module in adapted}
    wanted = config["target_modules"]
    lacking = set()
    for module in set(targets) - set(adapted):
        if _kind(module) in kinds:
            lacking.add(module)  # other layers have it
        elif ".experts." not in module:
            names = [] if isinstance(wanted, str) else [name for name in wanted if _ends_in(module, [name])]
            if not any(_ends_in(other, names) for other in adapted):
                lacking.add(module)
    return lacking


def _kind(module: str) -> str:
    return re.sub(r"(?<=\.)\d+(?=\.)", "*", module)


def _ends_in(module: str, names: Iterable[str]) -> bool:
    return any(module == name or module.endswith(f".{name}") for name in names)


def _is_of(module: str, name: str) -> bool:
    """Whether a tensor's name lies in a module that modules_to_save calls so."""
    return f".{module}." in f".{name}"


def _is_matrix(name: str, shape: Shape) -> bool:
    return name.endswith(".weight") and len(shape) == 2


def _some(names: list[str]) -> str:
    more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    return ", ".join(names[:MAX_NAMED]) + more


def _said(config: Mapping[str, Any]) -> str:
    keys = ("target_modules", "exclude_modules", "layers_to_transform", "layers_pattern")
    said = ", ".join(f"{key} {config[key]}" for key in keys if config.get(key))
    return said if len(said) <= 200 else f"{said[:200]}..."
