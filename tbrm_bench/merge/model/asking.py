"""A question about a model's class that transformers answers in a process of its own, and the cache of the answers.

    python -m tbrm_bench.merge.model.expected config.json     ->     ~/.cache/tbench/expected/<key>.json

The process keeps torch's memory out of this one, and runs beside it. It prints one line of JSON, or `{"error": "..."}`.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Generic, TypeVar

from tbrm_bench.errors import MissingExtra, UserError
from tbrm_bench.files import write_files
from tbrm_bench.merge.places import cache_dir
from tbrm_bench.provenance import VOLATILE_KEYS, digest

FORMAT = 1  # of the cached answers
TIMEOUT_S = 600.0
# They change nothing in a model's names and shapes.
NEUTRAL_KEYS = {*VOLATILE_KEYS, "dtype", "torch_dtype", "eos_token_id", "bos_token_id", "pad_token_id", "use_cache"}
T = TypeVar("T")


class Asked(Generic[T]):
    """A question that is being answered; `answer` waits for it."""

    def __init__(
        self,
        module: str,
        config: dict[str, Any],
        config_file: Path,
        *,
        read: Callable[[dict[str, Any]], T],
        known: T | None = None,
        given: Any = None,
    ) -> None:
        """Take what is `known`, or the cache's answer, or start `python -m module config_file`, with `given` as input.

        `read` makes the answer of the JSON object that is printed; the answer depends on config and `given` alone.
        """
        self._read = read
        self._known: T | str | None = known
        self._process: subprocess.Popen[str] | None = None
        if known is not None:
            return
        try:
            installed = version("transformers")
        except PackageNotFoundError:
            self._known = str(MissingExtra("transformers", "hf"))
            return
        asked = {key: value for key, value in config.items() if key not in NEUTRAL_KEYS}
        key = digest([FORMAT, installed, json.loads(json.dumps([asked, given], default=str, sort_keys=True))])
        self._file = cache_dir() / module.rpartition(".")[2] / f"{key}.json"
        if self._file.is_file():
            self._known = self._parse(self._file.read_text(encoding="utf-8"))
        if self._known is None:
            self._process = _start(module, config_file, given)

    def is_answered(self) -> bool:
        """Whether `answer` returns at once."""
        return self._process is None or self._process.poll() is not None

    def answer(self) -> T | str:
        """Return the answer, or a line that says why it is not known."""
        if self._known is None:
            assert self._process is not None
            try:
                text, errors = self._process.communicate(timeout=TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self.close()
                text, errors = "", f"no answer in {TIMEOUT_S:.0f} s"
            self._known = self._parse(text) or _last_line(errors) or "transformers gave no answer"
            if not isinstance(self._known, str):
                self._keep(text)
        return self._known

    def close(self) -> None:
        """Stop asking."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.communicate()

    def _parse(self, text: str) -> T | str | None:
        try:
            value = json.loads(text.strip().splitlines()[-1])
            return str(value["error"]) if "error" in value else self._read(value)
        except (ValueError, KeyError, IndexError, TypeError, AttributeError):
            return None

    def _keep(self, text: str) -> None:
        try:
            write_files({self._file: text}, make_folders=True)
        except UserError:
            return  # a cache that cannot be written costs a few seconds the next time


def _start(module: str, config_file: Path, given: Any) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", module, str(config_file)]
    with tempfile.TemporaryFile("w+", encoding="utf-8") as stream:  # a pipe would wait until torch is imported
        json.dump(given, stream)
        stream.seek(0)
        return subprocess.Popen(command, stdin=stream, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def _last_line(text: str) -> str:
    lines = [line for line in text.strip().splitlines() if line.strip()]
    return lines[-1] if lines else ""
