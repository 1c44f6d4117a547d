"""Hostile checkpoints run nothing, and a merge that fails or is killed leaves nothing that looks finished."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from forging import RANK_FILE, forge, pickle_call, save_actor, tiny_state
from safetensors.torch import load_file

from tbrm_bench.errors import ExitCode, RunFailed, UserError
from tbrm_bench.merge import detect, merge
from tbrm_bench.merge.refusals import UnknownFormat, UnsafePickle
from tbrm_bench.merge.source.inert import _FUNCTIONS, Function, Mapping, Sealed, allowed, stub_class
from tbrm_bench.weights import weights_fingerprint

ATTACKS: list[tuple[str, str, tuple[Any, ...]]] = [
    ("os", "system", ("touch {canary}",)),
    ("posix", "system", ("touch {canary}",)),
    ("nt", "system", ("touch {canary}",)),
    ("subprocess", "Popen", (["touch", "{canary}"],)),
    ("subprocess", "check_output", (["touch", "{canary}"],)),
    ("builtins", "eval", ("open('{canary}', 'w')",)),
    ("builtins", "exec", ("open('{canary}', 'w')",)),
    ("__builtin__", "eval", ("open('{canary}', 'w')",)),
    ("builtins", "open", ("{canary}", "w")),
    ("builtins", "__import__", ("antigravity",)),
    ("builtins", "compile", ("1", "x", "eval")),
    ("builtins", "setattr", ("a", "b", "c")),
    ("builtins", "type", ("X", (), {})),
    ("importlib", "import_module", ("antigravity",)),
    ("runpy", "run_path", ("{canary}",)),
    ("functools", "partial", ("x",)),
    ("operator", "attrgetter", ("x",)),
    ("pickle", "loads", (b"",)),
    ("shutil", "rmtree", ("{canary}",)),
    ("webbrowser", "open", ("http://localhost",)),
    ("torch", "load", ("{canary}",)),
    ("torch.storage", "_load_from_bytes", (b"",)),
    ("torch.hub", "load", ("a", "b")),
    ("torch.jit", "load", ("{canary}",)),
    ("torch.distributed.run", "main", ()),
    ("torch.distributed.rpc", "PythonUDF", ()),
    ("torch._utils", "_import_dotted_name", ("os.system",)),
    ("torch.utils._config_module", "ConfigModule", ()),
    ("deepspeed.launcher.runner", "main", ()),
    ("numpy", "load", ("{canary}",)),
    ("numpy.testing._private.utils", "runstring", ("open('{canary}', 'w')", {})),
    ("pathlib", "PosixPath.write_text", ("x",)),
    ("torch.distributed.tensor", "os.system", ("touch {canary}",)),
    ("tbrm_bench.merge.source.inert", "stub_class", ("x",)),
]


def assert_refused(checkpoint: Path, output: Path, *words: str, **options: Any) -> UserError:
    """The merge ends in one line with the words, and nothing is left beside the checkpoint."""
    with pytest.raises(UserError) as caught:
        merge(checkpoint, output, **options)
    assert "\n" not in str(caught.value)
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert not output.exists()
    assert not [path for path in output.parent.iterdir() if ".draft-" in path.name]
    return caught.value


@pytest.mark.parametrize(("module", "name", "args"), ATTACKS, ids=lambda value: value if isinstance(value, str) else "")
def test_a_named_function_is_refused_by_its_name_and_not_called(
    module: str, name: str, args: tuple[Any, ...], tmp_path: Path
) -> None:
    canary = tmp_path / "canary"

    def fill(value: Any) -> Any:
        if isinstance(value, list):
            return [fill(item) for item in value]
        return value.format(canary=canary) if isinstance(value, str) else value

    actor = save_actor(tmp_path / "actor")
    forge(actor / RANK_FILE, pickle_call(module, name, *map(fill, args)))
    before = set(sys.modules)
    error = assert_refused(actor, tmp_path / "out", f"{module}.{name}")
    assert isinstance(error, UnsafePickle)
    assert error.exit_code == ExitCode.USAGE
    assert not canary.exists()
    assert "antigravity" not in set(sys.modules) - before


def place_fsdp(folder: Path, data: bytes) -> Path:
    actor = save_actor(folder)
    forge(actor / RANK_FILE, data)
    return actor


def place_model_states(folder: Path, data: bytes) -> Path:
    actor = save_actor(folder)
    (actor / RANK_FILE).unlink()
    forge(actor / "mp_rank_00_model_states.pt", data)
    return actor


def place_optim_states(folder: Path, data: bytes) -> Path:
    actor = save_actor(folder)
    state = {"module": tiny_state(), "param_shapes": [], "buffer_names": []}
    torch.save(state, actor / "mp_rank_00_model_states.pt")
    (actor / RANK_FILE).unlink()
    forge(actor / "zero_pp_rank_0_mp_rank_00_optim_states.pt", data)
    return actor


def place_metadata(folder: Path, data: bytes) -> Path:
    actor = save_actor(folder)
    (actor / RANK_FILE).unlink()
    (actor / ".metadata").write_bytes(data)
    return actor


def place_bin(folder: Path, data: bytes) -> Path:
    actor = save_actor(folder)
    (actor / RANK_FILE).unlink()
    forge(actor / "pytorch_model.bin", data)
    return actor


def place_adapter(folder: Path, data: bytes) -> Path:
    actor = save_actor(folder)
    (actor / RANK_FILE).unlink()
    (actor / "adapter_config.json").write_text('{"peft_type": "LORA", "r": 1, "lora_alpha": 1}')
    forge(actor / "adapter_model.bin", data)
    return actor


@pytest.mark.parametrize(
    "place", [place_fsdp, place_model_states, place_optim_states, place_metadata, place_bin, place_adapter]
)
def test_every_format_is_read_with_the_same_care(place: Callable[[Path, bytes], Path], tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    folder = place(tmp_path / "checkpoint", pickle_call("os", "system", f"touch {canary}"))
    assert_refused(folder, tmp_path / "out", "os.system", "nothing was executed")
    assert not canary.exists()


@pytest.mark.parametrize(
    "name",
    ["torch._utils _rebuild_tensor_v2", "collections OrderedDict", "torch.distributed.tensor DTensor", "torch float32",
     "builtins getattr", "torch Size", "torch FloatStorage", "torch.nn.parameter Parameter"],
)  # fmt: skip
def test_what_is_allowed_cannot_be_changed(name: str, tmp_path: Path) -> None:
    """The BUILD opcode sets attributes of whatever is on the stack, classes and functions too."""
    module, _, attribute = name.partition(" ")
    for state in (b"}X\x01\x00\x00\x00xK\x01s", b"N}X\x01\x00\x00\x00xK\x01s\x86"):
        data = b"\x80\x02" + f"c{module}\n{attribute}\n".encode() + state + b"b."
        with pytest.raises(UserError):
            merge(place_fsdp(tmp_path / f"a{len(state)}", data), tmp_path / "out")
        assert not hasattr(allowed(module, attribute), "x")
    merge(save_actor(tmp_path / "good"), tmp_path / "good-out")


def test_all_that_a_pickle_can_reach_is_inert() -> None:
    """No name on the list gives a class or function of a library, only this package's own sealed ones."""
    names = [name.rpartition(".") for name in _FUNCTIONS]
    for module, _, name in [*names, ("torch.distributed.x", "", "DTensor"), ("collections", "", "OrderedDict")]:
        found = allowed(module, name)
        assert isinstance(found, Function) or type(found) is Sealed
        with pytest.raises(TypeError):
            found.anything = 1
    reached = allowed("builtins", "getattr")(stub_class("torch.x"), "__globals__")
    assert type(reached) is Sealed
    assert issubclass(reached, type(stub_class("a")()).__mro__[1])
    assert not hasattr(Mapping(), "__dict__")


@pytest.mark.parametrize("name", ["../secret.safetensors", "/etc/passwd", "a/b.safetensors", "..", "", 7, None])
def test_an_index_that_points_elsewhere_is_refused(name: Any, tmp_path: Path) -> None:
    model = save_actor(tmp_path / "model")
    (model / RANK_FILE).unlink()
    (tmp_path / "secret.safetensors").write_bytes(b"secret")
    (model / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"lm_head.weight": name}}))
    assert_refused(model, tmp_path / "out", "index")


def test_formats_that_are_not_read_are_named(tmp_path: Path) -> None:
    cases: dict[str, tuple[str, str]] = {
        "mp_rank_00/model_optim_rng.pt": ("Megatron", ""),
        "common.pt": ("Megatron", ""),
        "mp_rank_01_model_states.pt": ("parallelism", ""),
        "__0_0.distcp": (".metadata", ""),
        "adapter_config.json": ("adapter_model", "{}"),
        "notes.txt": ("notes.txt", ""),
    }
    for number, (file, (word, text)) in enumerate(cases.items()):
        folder = tmp_path / str(number)
        (folder / file).parent.mkdir(parents=True)
        (folder / file).write_text(text)
        with pytest.raises(UserError, match=word):
            detect(folder)
    with pytest.raises(UserError, match="does not exist"):
        detect(tmp_path / "nowhere")
    with pytest.raises(UserError, match="is a file"):
        detect(tmp_path / "5" / "notes.txt")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UnknownFormat, match="nothing"):
        detect(tmp_path / "empty")


def test_a_run_keeps_its_steps_in_a_folder_of_checkpoints(tmp_path: Path) -> None:
    """As this project's trainer has it, with a link to the best step, which is no step of its own."""
    for step in (5, 50):
        save_actor(tmp_path / "run" / "checkpoints" / f"step-{step:06d}")
    (tmp_path / "run" / "checkpoints" / "best").symlink_to("step-000050")
    with pytest.raises(UserError, match=r"2 steps: 5, 50;"):
        detect(tmp_path / "run")
    found = detect(tmp_path / "run", step=50)
    assert (found.step, found.root.name) == (50, "step-000050")
    assert detect(tmp_path / "run" / "checkpoints" / "best") == detect(tmp_path / "run" / "checkpoints" / "step-000050")


@pytest.mark.parametrize("what", ["file", "folder", "link"])
def test_nothing_that_is_there_is_written_over(what: str, tmp_path: Path) -> None:
    actor, output = save_actor(tmp_path / "actor"), tmp_path / "out"
    if what == "file":
        output.write_text("mine")
    elif what == "link":
        output.symlink_to(tmp_path / "nowhere")
    else:
        output.mkdir()
        (output / "mine").write_text("mine")
    with pytest.raises(UserError, match=r"already|there"):
        merge(actor, output)
    assert what == "link" or (output if what == "file" else output / "mine").read_text() == "mine"


MERGE = """
import sys, time
from pathlib import Path
from tbrm_bench.merge import merge
def slow(done, total):
    print(done, flush=True)
    time.sleep(3600)
merge(Path(sys.argv[1]), Path(sys.argv[2]), progress=slow if sys.argv[3] == "slow" else None)
"""


def start(actor: Path, output: Path, speed: str, **options: Any) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", MERGE, str(actor), str(output), speed]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


def test_a_killed_merge_leaves_no_model_and_starts_again(tmp_path: Path) -> None:
    actor, output = save_actor(tmp_path / "actor"), tmp_path / "models" / "out"
    process = start(actor, output, "slow")
    assert process.stdout is not None
    assert process.stdout.readline()  # it writes
    with pytest.raises(UserError, match="is being written by"):
        merge(actor, output)
    process.send_signal(signal.SIGKILL)
    process.wait()
    left = list(output.parent.iterdir())
    assert len(left) == 1
    assert left[0].name.startswith(".out.draft-")
    assert not output.exists()
    report = merge(actor, output)
    assert [path.name for path in output.parent.iterdir()] == ["out"]
    assert weights_fingerprint(output) == report.fingerprint


def test_an_interrupted_merge_cleans_up(tmp_path: Path) -> None:
    actor, output = save_actor(tmp_path / "actor"), tmp_path / "models" / "out"
    # Whoever runs the tests in the background of a shell hands down that interrupts are ignored.
    process = start(actor, output, "slow", preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    assert process.stdout is not None
    assert process.stdout.readline()
    process.send_signal(signal.SIGINT)
    process.wait(timeout=600)
    assert list(output.parent.iterdir()) == []


def test_a_disk_that_fills_up_is_one_line(tmp_path: Path) -> None:
    """A limit on the size of files fails like a quota or a full disk: in the middle of a write."""
    import resource

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))

    actor, output = save_actor(tmp_path / "actor"), tmp_path / "models" / "out"
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    process = start(actor, output, "fast", preexec_fn=limit, env=environment)
    _, errors = process.communicate(timeout=600)
    assert "RunFailed: no room to write" in errors.strip().splitlines()[-1]
    assert list(output.parent.iterdir()) == []


def test_a_disk_without_the_room_is_known_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    actor = save_actor(tmp_path / "actor")
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    error = assert_refused(actor, tmp_path / "out", "needs 17.9 MB", "0.0 MB free", "--dtype bfloat16")
    assert isinstance(error, RunFailed)
    assert error.exit_code == ExitCode.FAILED


def test_a_source_that_changes_while_it_is_read_is_noticed(tmp_path: Path) -> None:
    actor = save_actor(tmp_path / "actor")

    def touch(_done: int, _total: int) -> None:
        os.utime(actor / RANK_FILE, (time.time(), time.time() + 5))

    assert_refused(actor, tmp_path / "out", "changed while it was read", progress=touch)


def test_an_optimizers_state_under_a_parameters_name_is_refused(tmp_path: Path) -> None:
    """A universal checkpoint keeps fp32.pt, exp_avg.pt and exp_avg_sq.pt side by side, all of one shape."""
    folder, state = save_actor(tmp_path / "global_step5_universal"), tiny_state()
    (folder / RANK_FILE).unlink()
    masters = {name: tensor.float() * 1.001 for name, tensor in state.items()}
    shapes = {name: tensor.shape for name, tensor in state.items()}
    module = {"module": state, "param_shapes": [shapes], "buffer_names": [], "shared_params": {}}
    torch.save(module, folder / "mp_rank_00_model_states.pt")
    for name, tensor in masters.items():
        (folder / "zero" / name).mkdir(parents=True)
        torch.save({"param": tensor}, folder / "zero" / name / "fp32.pt")
        torch.save({"param": tensor * 0}, folder / "zero" / name / "exp_avg.pt")
    report = merge(folder, tmp_path / "out")
    assert (report.format, report.step, report.verified) == ("universal", 5, True)
    found = load_file(tmp_path / "out" / "model.safetensors")
    assert all(torch.equal(found[name], masters[name]) for name in found)
    home = folder / "zero" / "model.norm.weight"
    shutil.copyfile(home / "exp_avg.pt", home / "fp32.pt")
    assert_refused(folder, tmp_path / "again", "exp_avg.pt", "state of the optimizer")
    shutil.rmtree(home)
    assert_refused(folder, tmp_path / "again", "model.norm.weight")
