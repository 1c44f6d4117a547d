"""The names and shapes that a model's class expects: by `families`, else asked of transformers in another process.

    python -m tbrm_bench.merge.expected config.json
    {"names": {"model.embed_tokens.weight": [151936, 1536], ...},
     "tied": {"lm_head.weight": "model.embed_tokens.weight"}, "stored": {}, "ignored": ["position_ids"]}

The model is built on the meta device, without memory for weights and without code from the checkpoint. A process of its
own keeps torch's memory out of the merge, which runs beside it. The answer depends on the config and on transformers
alone and is kept in the cache.
"""

import json
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from tbrm_bench.merge.families import names_and_shapes
from tbrm_bench.merge.places import cache_dir
from tbrm_bench.provenance import VOLATILE_KEYS, digest
from tbrm_bench.store.files import write_text_atomically

FORMAT = 1  # of the cached answer
TIMEOUT_S = 600.0
# They change nothing in a model's names and shapes.
NEUTRAL_KEYS = {*VOLATILE_KEYS, "dtype", "torch_dtype", "eos_token_id", "bos_token_id", "pad_token_id", "use_cache"}


@dataclass(frozen=True, slots=True)
class Expected:
    """Shapes by name in the model's class; `tied`: name -> the name it shares its values with; `stored`: the names
    that save_pretrained would write, where they are others (experts that the class keeps in one tensor, for example).
    """

    names: dict[str, tuple[int, ...]]
    tied: dict[str, str]
    stored: dict[str, tuple[int, ...]]
    ignored: tuple[str, ...]


class Question:
    """A question that is being answered; `answer` waits for it."""

    def __init__(self, config: dict[str, Any], config_file: Path) -> None:
        self._file: Path | None = None
        self._process: subprocess.Popen[str] | None = None
        self._known: Expected | str | None = None
        if (known := names_and_shapes(config)) is not None:
            self._known = Expected(*known, stored={}, ignored=())
            return
        try:
            installed = version("transformers")
        except PackageNotFoundError:
            self._known = "transformers is not installed; run: pip install 'tbrm-bench[hf]'"
            return
        asked = {key: value for key, value in config.items() if key not in NEUTRAL_KEYS}
        key = digest([FORMAT, installed, json.loads(json.dumps(asked, default=str))])
        self._file = cache_dir() / "expected" / f"{key}.json"
        if self._file.is_file():
            self._known = _parse(self._file.read_text(encoding="utf-8"))
        if self._known is None:
            command = [sys.executable, "-m", "tbrm_bench.merge.expected", str(config_file)]
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            )

    def is_answered(self) -> bool:
        """Whether `answer` returns at once."""
        return self._process is None or self._process.poll() is not None

    def answer(self) -> Expected | str:
        """Return what the class expects, or a line that says why that is not known."""
        if self._known is None:
            assert self._process is not None
            try:
                text, errors = self._process.communicate(timeout=TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self.close()
                text, errors = "", f"no answer in {TIMEOUT_S:.0f} s"
            self._known = _parse(text) or _last_line(errors) or "transformers gave no answer"
            if isinstance(self._known, Expected):
                self._keep(text)
        return self._known

    def close(self) -> None:
        """Stop asking."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.communicate()

    def _keep(self, text: str) -> None:
        assert self._file is not None
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            write_text_atomically(self._file, text)
        except OSError:
            return  # a cache that cannot be written costs a few seconds the next time


def _parse(text: str) -> Expected | str | None:
    try:
        value = json.loads(text.strip().splitlines()[-1])
        if "error" in value:
            return str(value["error"])
        return Expected(
            {name: tuple(shape) for name, shape in value["names"].items()},
            dict(value["tied"]),
            {name: tuple(shape) for name, shape in value["stored"].items()},
            tuple(value["ignored"]),
        )
    except (ValueError, KeyError, IndexError, TypeError, AttributeError):
        return None


def _last_line(text: str) -> str:
    lines = [line for line in text.strip().splitlines() if line.strip()]
    return lines[-1] if lines else ""


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
