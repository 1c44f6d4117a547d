"""Whether tensors are those of a model's class: by the class's names and shapes, else as transformers would load them.

    python -m tbrm_bench.models.class_fit config.json < {"model.embed_tokens.weight": [151936, 1536], ...}
    {"cls": "Qwen2ForCausalLM", "missing": ["model.layers.3.mlp.down_proj.weight"], "additional": [], "misshapen": [],
     "tied": {"lm_head.weight": "model.embed_tokens.weight"}}

The commonest classes are answered by `merge.families` at once. Any other is asked of transformers in a process of its
own, which runs beside the rest; its answer depends on config, names and shapes alone and is kept in the cache. Names
that transformers takes under another name (experts, names of older versions, a model that was saved without its head)
are those of the class: there its own loading decides, over tensors without data.
"""

import json
import logging
import os
import re
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tbrm_bench.merge.model.asking import Asked
from tbrm_bench.merge.model.expected import Expected, describe_class
from tbrm_bench.merge.model.families import names_and_shapes

# Computed by every engine: frequencies, positions, causal masks; old checkpoints hold them all the same.
COMPUTED = re.compile(
    r"rotary_(pos_)?emb\.(inv_freq|cos_cached|sin_cached|freqs)$|(^|\.)position_ids$|\.(attn|attention)\.(masked_)?bias$"
)
QUANTISED_KEYS = ("quantization_config", "compression_config")
Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Fit:
    """How tensors differ from those of the class; `misshapen` are (name, stored shape, the class's shape).

    `tied` names what the class lets share its values with another name.
    """

    cls: str
    missing: tuple[str, ...]
    additional: tuple[str, ...]
    misshapen: tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...]
    tied: dict[str, str]

    @property
    def num_faults(self) -> int:
        """0 where the tensors are those of the class."""
        return len(self.missing) + len(self.additional) + len(self.misshapen)


class FitQuestion(Asked[Fit]):
    """How tensors fit the class of a config, as it is being found out."""

    def __init__(self, config: dict[str, Any], config_file: Path, have: Shapes) -> None:
        """Answer at once, or start to ask."""
        known, fit = names_and_shapes(config), None
        if known is not None:
            expected = Expected(*known, stored={}, ignored=())
            fit = compare(config["architectures"][0], have, expected.names, expected, config)
        super().__init__("tbrm_bench.models.class_fit", config, config_file, read=_read, known=fit, given=have)


def _read(value: dict[str, Any]) -> Fit:
    misshapen = tuple((name, tuple(have), tuple(want)) for name, have, want in value["misshapen"])
    return Fit(value["cls"], tuple(value["missing"]), tuple(value["additional"]), misshapen, dict(value["tied"]))


def compare(cls: str, have: Shapes, names: Shapes, expected: Expected, config: dict[str, Any]) -> Fit:
    """Return how tensors differ from `names`; one of several tied names is enough."""
    groups = {holder: {holder} for holder in expected.tied.values()}
    for alias, holder in expected.tied.items():
        groups[holder].add(alias)
    groups |= {alias: groups[holder] for alias, holder in expected.tied.items()}
    ignored = [re.compile(pattern) for pattern in expected.ignored]
    return Fit(
        cls=cls,
        missing=tuple(name for name in names if not have.keys() & groups.get(name, {name})),
        additional=tuple(
            name
            for name in have
            if name not in names and not is_unused(name, config) and not any(p.search(name) for p in ignored)
        ),
        misshapen=tuple((name, have[name], want) for name, want in names.items() if have.get(name, want) != want),
        tied=dict(expected.tied),
    )


def lost_modules(config: dict[str, Any], have: Iterable[str]) -> list[str]:
    """Return parameters of the class whose module has nothing stored at all, where the class is one of the commonest.

    This is what can be said of quantised weights: a format renames what is in a module, and keeps the module.
    """
    known = names_and_shapes({key: value for key, value in config.items() if key not in QUANTISED_KEYS})
    if known is None:
        return []
    shapes, tied = known
    parts = [name.split(".") for name in have]
    stored = {".".join(words[:end]) for words in parts for end in range(1, len(words))}
    return [name for name in shapes if not {_module(name), _module(tied.get(name, name))} & stored]


def _module(name: str) -> str:
    return name.rpartition(".")[0]


def is_unused(name: str, config: dict[str, Any]) -> bool:
    """Whether no engine needs a tensor for generating: computed from the config, or a layer that predicts further."""
    if COMPUTED.search(name) or re.match(r"(model\.)?mtp(_layers)?\.", name):
        return True
    text = config.get("text_config")
    config = {**config, **(text if isinstance(text, dict) else {})}
    layers, further = config.get("num_hidden_layers"), config.get("num_nextn_predict_layers")
    match = re.search(r"(?:^|\.)layers\.(\d+)\.", name)
    if match is None or type(layers) is not int or type(further) is not int:
        return False
    return layers <= int(match[1]) < layers + further


def describe_fit(config_file: Path, have: Shapes) -> Fit | str:
    """Return how tensors fit the class of the config; runs in the process of its own."""
    import transformers

    raw = json.loads(config_file.read_text(encoding="utf-8"))
    config = transformers.AutoConfig.from_pretrained(
        config_file.parent, local_files_only=True, trust_remote_code=False, attn_implementation="eager"
    )
    named = str(raw["architectures"][0]).removeprefix("FSDP")
    unknown = f"transformers {transformers.__version__} has no class {named}"
    cls = _generating_class(named, config)
    if cls is None:
        return unknown
    value = describe_class(cls, config)
    names = {name: tuple(shape) for name, shape in value["names"].items()}
    stored = {name: tuple(shape) for name, shape in value["stored"].items()}
    expected = Expected(names, value["tied"], stored, tuple(value["ignored"]))
    fits = [compare(cls.__name__, have, wanted, expected, raw) for wanted in (stored, names) if wanted]
    best = min(fits, key=lambda fit: fit.num_faults)
    if not best.num_faults:
        return best
    if not hasattr(transformers, named):  # what another class expects does not tell what this one lacks
        return unknown
    try:
        loaded = _loaded(cls, config, have, expected, raw)
    except RuntimeError as error:
        if "conversion" in str(error):  # tensors that it makes one of do not fit each other
            return best
        raise
    return loaded if not loaded.num_faults else min(best, loaded, key=lambda fit: fit.num_faults)


def _generating_class(architecture: str, config: Any) -> Any:
    """Return the class that is named, or the one that AutoModelForCausalLM makes of a config that names another."""
    import transformers

    cls = getattr(transformers, architecture, None)
    if cls is not None and cls.can_generate():
        return cls
    found = transformers.MODEL_FOR_CAUSAL_LM_MAPPING.get(type(config), None)
    return found[0] if isinstance(found, tuple) else found


def _loaded(cls: Any, config: Any, have: Shapes, expected: Expected, raw: dict[str, Any]) -> Fit:
    """Load tensors without data and return what transformers reports of them."""
    import torch
    from torch._subclasses.fake_tensor import FakeTensorMode

    doubled = {alias for alias, holder in expected.tied.items() if alias in have and holder in have}
    with FakeTensorMode(allow_non_fake_inputs=True):
        state = {
            name: torch.empty(shape, dtype=torch.bfloat16)
            for name, shape in have.items()
            if name not in doubled and (name in expected.names or not is_unused(name, raw))
        }
        _, report = cls.from_pretrained(
            None, config=config, state_dict=state, output_loading_info=True, ignore_mismatched_sizes=True
        )
    misshapen = [(name, tuple(mine), tuple(want)) for name, mine, want in sorted(report["mismatched_keys"])]
    missing, additional = sorted(report["missing_keys"]), sorted(report["unexpected_keys"])
    return Fit(cls.__name__, tuple(missing), tuple(additional), tuple(misshapen), dict(expected.tied))


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)  # what does not fit is the answer
    os.environ["HF_DEACTIVATE_ASYNC_LOAD"] = "1"  # tensors without data exist in this thread alone
    try:
        given = {name: tuple(shape) for name, shape in json.load(sys.stdin).items()}
        answer = describe_fit(Path(sys.argv[1]), given)
    except Exception as error:  # noqa: BLE001  whatever a model class raises is the answer
        answer = f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0]}"
    print(json.dumps(asdict(answer) if isinstance(answer, Fit) else {"error": answer}))
