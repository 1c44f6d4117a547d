"""Runs trainings in forks of one process that has loaded torch, transformers and DeepSpeed already.

A line on stdin, {"words": [...], "world_size": 2, "kill": ["tbrm_train.run.loop._roll_out", 3]}, forks one process a
rank, which runs `tbench train WORDS`; `kill` sends SIGKILL to itself when the function is called for the third time. A
line on stdout answers: the exit codes (negative for a signal) and what was written to stdout and stderr.
"""

import json
import os
import resource
import signal
import sys
import tempfile
import traceback
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

MODULES = (
    *("deepspeed", "deepspeed.runtime.zero.muon.original_muon", "tbrm_train.run.loop"),
    *("transformers", "transformers.generation", "transformers.models.qwen2.modeling_qwen2"),
)


def main() -> None:
    os.environ |= {"DS_ACCELERATOR": "cpu", "TORCH_CPP_LOG_LEVEL": "ERROR", "OMP_NUM_THREADS": "1"}
    for name in MODULES:
        import_module(name)
    print("ready", flush=True)
    for line in sys.stdin:
        print(json.dumps(run(**json.loads(line))), flush=True)


def run(words: list[str], world_size: int, kill: list[Any] | None, environment: dict[str, str]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        outputs = [[Path(folder) / f"{name}-{rank}" for name in ("out", "err")] for rank in range(world_size)]
        port = str(free_port())
        children = []
        for rank in range(world_size):
            child = os.fork()
            if child == 0:
                if world_size > 1:
                    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(world_size)}
                    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
                os.environ |= environment
                train(words, kill, outputs[rank])
            children.append(child)
        codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        texts = [[path.read_text() for path in paths] for paths in outputs]
    return {"codes": codes, "out": texts[0][0], "err": "".join(text[1] for text in texts)}


def free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def train(words: list[str], kill: list[Any] | None, outputs: list[Path]) -> None:
    from tbrm_bench.cli.app import main as tbench

    for descriptor, path in zip((1, 2), outputs, strict=True):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), descriptor)
    if kill:
        plant(*kill)
    first = os.environ.get("TEST_GRADING_HANGS_FROM")
    if first:
        hang_grading(int(first))
    spoilt = os.environ.get("TEST_GRADIENT")
    if spoilt:
        spoil_gradient(*spoilt.split())
    limit = os.environ.get("TEST_FILE_LIMIT")
    if limit:
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
    sys.argv = ["tbench", "train", *words]
    code = 70
    try:
        tbench()
    except SystemExit as left:
        code = int(left.code or 0)
    finally:
        leave(code)


def leave(code: int) -> None:
    """End a fork without the parent's exit handlers; an error on its way is told."""
    if sys.exc_info()[1] is not None and not isinstance(sys.exc_info()[1], SystemExit):
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def plant(name: str, call: int) -> None:
    """Kill this process at the n-th call of `module.function` or `module.Class.method`."""
    module, _, function = name.rpartition(".")
    try:
        owner: Any = import_module(module)
    except ModuleNotFoundError:
        outer, _, inner = module.rpartition(".")
        owner = getattr(import_module(outer), inner)
    original = getattr(owner, function)
    calls = 0

    def counted(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*args, **kwargs)

    setattr(owner, function, counted)


def hang_grading(first_step: int) -> None:
    """From a step on, 0 being the samples before the first, have `hang` judge all texts and golds, in a worker."""
    pool: Any = import_module("tbrm_bench.grading.workers.pool")
    blame: Any = import_module("tbrm_bench.grading.workers.blame")
    equivalence = import_module("tbrm_bench.grading.equal.equivalence")
    request = {"op": "score", "scorer": "zygote:hang", "given": {}}

    def hanging(function: Any) -> Any:
        def called(session: Any, *arguments: Any) -> Any:
            if (arguments[0] if isinstance(arguments[0], int) else 0) >= first_step:
                extract = pool.extract
                pool.extract = lambda text, **how: replace(extract(text, **how), answer=text or "nothing")
                question = equivalence.Question(request, symbolic=False)
                pool.decide = lambda answer, gold, policy: equivalence.Undecided(question)
                blame._alone = lambda asked, gold: question
            return function(session, *arguments)

        return called

    for module, name in (("tbrm_train.run.loop", "_roll_out"), ("tbrm_train.run.offline_values", "sample")):
        setattr(import_module(module), name, hanging(getattr(import_module(module), name)))


def spoil_gradient(part: str, kind: str, step: str, rank: str) -> None:
    """Spoil what the policy or the critic learns in a step, in one process, and leave its loss as it is.

    `nan`: all gradients are NaN. `large`: they are finite, and too large to be squared. `weights`: the gradients are
    right, and one weight becomes NaN after the step.
    """
    engine: Any = import_module("tbrm_train.learner.deepspeed_engine")
    backward, update = engine.TrainingEngine.backward, engine.TrainingEngine.step
    steps: dict[int, int] = {}

    def is_due(self: Any) -> bool:
        mine = type(self.module).__name__.lower() == part and os.environ.get("RANK", "0") == rank
        return mine and steps.get(id(self), 0) == int(step) - 1

    def spoilt(self: Any, loss: Any, *, last: bool) -> None:
        nothing = loss - loss.detach()
        if is_due(self) and kind != "weights":
            loss = loss + (nothing.abs().sqrt() if kind == "nan" else 1e30 * nothing)
        backward(self, loss, last=last)

    def counted(self: Any, **options: Any) -> float:
        norm: float = update(self, **options)
        if is_due(self) and kind == "weights":
            next(iter(self.module.parameters())).data[0, 0] = float("nan")
        steps[id(self)] = steps.get(id(self), 0) + 1
        return norm

    engine.TrainingEngine.backward, engine.TrainingEngine.step = spoilt, counted


def hang(given: dict[str, Any]) -> float:
    while True:
        pass


if __name__ == "__main__":
    main()
