"""The names and shapes that a model's class expects: by `families`, else asked of transformers in another process.

    python -m tbrm_bench.merge.model.expected config.json
    {"names": {"model.embed_tokens.weight": [151936, 1536], ...},
     "tied": {"lm_head.weight": "model.embed_tokens.weight"}, "stored": {}, "ignored": ["position_ids"]}

The model is built on the meta device, without memory for weights and without code from the checkpoint. A process of its
own keeps torch's memory out of the merge, which runs beside it. The answer depends on the config and on transformers
alone and is kept in the cache.
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tbrm_bench.merge.model.asking import Asked
from tbrm_bench.merge.model.families import names_and_shapes


@dataclass(frozen=True, slots=True)
class Expected:
    """Shapes by name in the model's class; `tied`: name -> the name it shares its values with; `stored`: the names
    that save_pretrained would write, where they are others (experts that the class keeps in one tensor, for example).
    """

    names: dict[str, tuple[int, ...]]
    tied: dict[str, str]
    stored: dict[str, tuple[int, ...]]
    ignored: tuple[str, ...]


class ClassQuestion(Asked[Expected]):
    """What the class of a config expects, as it is being found out."""

    def __init__(self, config: dict[str, Any], config_file: Path) -> None:
        known = names_and_shapes(config)
        answer = None if known is None else Expected(*known, stored={}, ignored=())
        super().__init__("tbrm_bench.merge.model.expected", config, config_file, read=_read, known=answer)


def _read(value: dict[str, Any]) -> Expected:
    return Expected(
        {name: tuple(shape) for name, shape in value["names"].items()},
        dict(value["tied"]),
        {name: tuple(shape) for name, shape in value["stored"].items()},
        tuple(value["ignored"]),
    )


def describe(config_file: Path) -> dict[str, Any]:
    """Return what the class of the config expects, as JSON; runs in the process of its own."""
    import transformers

    config = transformers.AutoConfig.from_pretrained(
        config_file.parent, local_files_only=True, trust_remote_code=False, attn_implementation="eager"
    )
    architecture = json.loads(config_file.read_text(encoding="utf-8"))["architectures"][0].removeprefix("FSDP")
    cls = getattr(transformers, architecture, None)
    if cls is None:
        return {"error": f"transformers {transformers.__version__} has no class {architecture}"}
    return describe_class(cls, config)


def describe_class(cls: Any, config: Any) -> dict[str, Any]:
    """Return what a class expects under a config, as JSON."""
    import torch

    with torch.device("meta"):
        model = cls(config)
    model.tie_weights()
    state = model.state_dict(keep_vars=True)
    first: dict[int, str] = {}
    tied = {}
    # The embedding is the one that is stored: a head is named after it.
    for name in sorted(state, key=lambda name: ("lm_head" in name or "embed_out" in name, list(state).index(name))):
        holder = first.setdefault(id(state[name]), name)
        if holder != name:
            tied[name] = holder
    return {
        "names": {name: list(tensor.shape) for name, tensor in state.items()},
        "tied": tied,
        "stored": _stored(model, state),
        "ignored": [str(pattern) for pattern in getattr(model, "_keys_to_ignore_on_load_unexpected", None) or []],
    }


def _stored(model: Any, state: dict[str, Any]) -> dict[str, list[int]]:
    """Return the names that save_pretrained writes, where transformers (>= 5) renames or splits."""
    try:
        from transformers.core_model_loading import revert_weight_conversion
    except ImportError:
        return {}
    plain = {name: tensor.detach() for name, tensor in state.items()}
    reverted = revert_weight_conversion(model, dict(plain))
    return {} if reverted.keys() == plain.keys() else {name: list(tensor.shape) for name, tensor in reverted.items()}


if __name__ == "__main__":
    try:
        answer = describe(Path(sys.argv[1]))
    except Exception as error:  # noqa: BLE001  whatever a model class raises is the answer
        answer = {"error": f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0]}"}
    print(json.dumps(answer))
