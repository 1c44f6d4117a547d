"""DeepSpeed behind a small interface: micro-batches in, one clipped step out, weights gathered, state on disk.

    setup = start_processes(recipe.deepspeed)              # before vLLM, which joins the same process group
    engine = TrainingEngine(module, settings, ...)
    engine.backward(loss, last=False); engine.backward(loss, last=True); norm = engine.step(learning_rate=1e-6)

Nothing is compiled at run time: without a GPU, DeepSpeed would build its shared-memory collectives (a minute, with g++
and ninja) and its own Adam (four minutes); gloo and torch.optim.AdamW give the same losses to 2e-7. The number of
micro-batches per step is set here and not in DeepSpeed's configuration, so that it may change from step to step. A loss
is the rank's part of the loss of the whole batch: gradients are summed over micro-batches and ranks, not averaged.
"""

import contextlib
import datetime
import logging
import math
import os
import socket
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tbrm_bench.errors import MissingExtra, RunFailed
from tbrm_train.learner.finite_numbers import Alarm, NotFiniteError, norm_of
from tbrm_train.learner.state_entries import cast_parameters, kept_buffers, state_entries
from tbrm_train.recipes.rl_recipe import DeepSpeed, Optimizer

if TYPE_CHECKING:
    import torch

# Rank 0 may evaluate a checkpoint while the others wait for it.
TIMEOUT = datetime.timedelta(hours=12)
STATE = "state"


class Processes(NamedTuple):
    """This process among those of the training."""

    rank: int
    world_size: int
    device: str


def start_processes(settings: DeepSpeed) -> Processes:
    """Join the processes that a launcher started (torchrun, deepspeed), or be the only one.

    Raises MissingExtra without DeepSpeed.
    """
    import torch

    on_gpu = torch.cuda.is_available()
    os.environ.setdefault("DS_ACCELERATOR", "cuda" if on_gpu else "cpu")
    if "WORLD_SIZE" not in os.environ:
        alone = {"RANK": 0, "LOCAL_RANK": 0, "WORLD_SIZE": 1, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": _free_port()}
        os.environ.update({key: str(value) for key, value in alone.items()})
    deepspeed = _import_deepspeed()
    if settings.num_threads is not None:
        torch.set_num_threads(settings.num_threads)
    # DeepSpeed takes over a process group that exists already.
    if not deepspeed.comm.is_initialized():
        deepspeed.init_distributed(dist_backend="nccl" if on_gpu else "gloo", timeout=TIMEOUT, verbose=False)
    rank, local_rank = torch.distributed.get_rank(), int(os.environ.get("LOCAL_RANK", "0"))
    return Processes(rank, torch.distributed.get_world_size(), f"cuda:{local_rank}" if on_gpu else "cpu")


def _import_deepspeed() -> Any:
    # Their notices ignore logger levels.
    warnings.filterwarnings("ignore", category=FutureWarning)
    warnings.filterwarnings("ignore", message="Converting a tensor with requires_grad")
    try:
        import deepspeed
        import deepspeed.ops
    except ImportError:
        raise MissingExtra("deepspeed", "train") from None
    logging.getLogger("DeepSpeed").setLevel(logging.ERROR)
    # A private table of the operations that can be built; without this entry all collectives use gloo.
    table = getattr(deepspeed.ops, "__compatible_ops__", None)
    if table is not None and os.environ["DS_ACCELERATOR"] == "cpu":
        table["deepspeed_shm_comm"] = False
    return deepspeed


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class TrainingEngine:
    """A module, its AdamW and its gradients, sharded over the processes according to the ZeRO stage."""

    def __init__(self, module: Any, settings: DeepSpeed, optimizer: Optimizer) -> None:
        """Take over the module; all processes must hold the same weights."""
        import torch

        self.settings = settings
        named = {name: parameter for name, parameter in module.named_parameters() if parameter.requires_grad}
        self.alarm = Alarm(named.items())
        trained = list(named.values())
        matrices = [parameter for parameter in trained if parameter.ndim >= 2]
        others = [parameter for parameter in trained if parameter.ndim < 2]
        groups = [{"params": matrices, "weight_decay": optimizer.weight_decay}, {"params": others, "weight_decay": 0.0}]
        groups = [group for group in groups if group["params"]]
        # Fused: makes no temporary copies of the weights, which would be the memory peak of a step.
        adam = torch.optim.AdamW(groups, lr=0.0, betas=optimizer.betas, eps=optimizer.eps, fused=True)
        # How DeepSpeed handles a norm that is not finite depends on its version, the stage and the dtype.
        adam.register_step_pre_hook(self._refuse)
        config = _config(settings, max_grad_norm=optimizer.max_grad_norm)
        self._engine: Any = None
        self._engine = _initialize(module, optimizer=adam, config=config)

    @property
    def module(self) -> Any:
        """The module itself; under ZeRO-3 its parameters exist only during its forward pass."""
        return self._engine.module

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the forward pass."""
        return self._engine(*args, **kwargs)

    def backward(self, loss: "torch.Tensor", *, last: bool) -> None:
        """Add the gradients of this rank's part of the batch's loss; `last` marks the last call before `step`.

        Every process must call it the same number of times.
        """
        self._engine.set_gradient_accumulation_boundary(last)
        # DeepSpeed averages over ranks; the parts have to be summed.
        self._engine.backward(loss * self._engine.world_size)
        if not last:
            self._engine.step()

    def step(self, *, learning_rate: float) -> float:
        """Clip, update and zero the gradients; return their norm before clipping, over the whole model.

        If the norm is not finite, which is the same in all processes, nothing was updated and the engine is unusable.
        """
        import torch

        for group in self._engine.optimizer.param_groups:
            group["lr"] = learning_rate
        norm = None
        if self.settings.zero_stage == 0:
            gradients = [p.grad for p in self.module.parameters() if p.grad is not None]
            norm = float(torch.nn.utils.get_total_norm(gradients))
            if not math.isfinite(norm):
                return norm
        try:
            self._engine.step()
        except NotFiniteError:
            return math.nan
        return norm if norm is not None else norm_of(self._engine.get_global_grad_norm())

    def _refuse(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        """Run before AdamW updates anything; DeepSpeed has computed the norm over all processes by then."""
        norm = getattr(getattr(self._engine, "optimizer", None), "_global_grad_norm", None)
        if norm is not None and not math.isfinite(norm_of(norm)):
            raise NotFiniteError

    def save(self, folder: Path, state: dict[str, Any]) -> None:
        """Write weights, optimiser and `state` (of this process) into the folder; all processes call it."""
        self._engine.save_checkpoint(str(folder), tag=STATE, client_state={"tbrm": state}, save_latest=False)

    def load(self, folder: Path) -> dict[str, Any]:
        """Read what `save` wrote and return its `state`; raises RunFailed if files are missing."""
        try:
            path, client = self._engine.load_checkpoint(str(folder), tag=STATE)
        except (OSError, RuntimeError, KeyError, EOFError) as error:
            raise RunFailed(f"{folder} cannot be loaded: {_one_line(error)}; remove that checkpoint") from None
        if path is None:
            raise RunFailed(f"{folder} has no training state; remove that checkpoint")
        state: dict[str, Any] = client["tbrm"]
        return state

    def entries(self) -> Iterator[tuple[str, "torch.Tensor"]]:
        """Yield every entry of the module's state by name, gathered; all processes must iterate together.

        Parameters and persistent buffers, such as the bias of a router; tied ones come once.
        """
        for name, entry in state_entries(self.module):
            with gathered(entry, self.settings):
                values = entry.detach()
                # Under ZeRO-3 the values are freed when the context ends; the caller may keep them for longer.
                yield name, values.clone() if self.settings.zero_stage == 3 else values

    def close(self) -> None:
        """Free hooks and buffers."""
        self._engine.destroy()


class FrozenModule:
    """A module that is only evaluated: the reference policy. Sharded like the policy under ZeRO-3."""

    def __init__(self, module: Any, settings: DeepSpeed, device: str) -> None:
        """Take over the module."""
        import torch

        self.settings = settings
        module.requires_grad_(False)
        self._engine = None
        if settings.zero_stage == 3:
            self._engine = _initialize(module, config=_config(settings, max_grad_norm=0.0))
        self.module = module if self._engine is None else self._engine.module
        if self._engine is None:
            cast_parameters(module, getattr(torch, settings.dtype))
            module.to(device)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the forward pass without gradients."""
        import torch

        with torch.no_grad():
            return (self._engine or self.module)(*args, **kwargs)

    def save(self, folder: Path, *, is_first: bool) -> None:
        """Write the weights into the folder; all processes call it."""
        import torch
        from safetensors.torch import save_file

        weights: dict[str, torch.Tensor] = {}
        for name, entry in state_entries(self.module):
            with gathered(entry, self.settings):
                if is_first:
                    weights[name] = entry.detach().cpu().clone()
        if is_first:
            folder.mkdir()
            save_file(weights, folder / "weights.safetensors")

    def load(self, folder: Path) -> None:
        """Read what `save` wrote; all processes call it."""
        import torch
        from safetensors.torch import load_file

        weights = load_file(folder / "weights.safetensors")
        with torch.no_grad():
            for name, entry in state_entries(self.module):
                with gathered(entry, self.settings, writer=0):
                    # Files of older versions have no buffers; the model keeps its own.
                    if name in weights or isinstance(entry, torch.nn.Parameter):
                        entry.data.copy_(weights[name])

    def copy_from(self, engine: TrainingEngine) -> None:
        """Copy the weights of an engine with the same module; all processes call it."""
        import torch

        mine = dict(state_entries(self.module))
        with torch.no_grad():
            for name, source in engine.entries():
                with gathered(mine[name], self.settings, writer=0):
                    mine[name].data.copy_(source)


@contextlib.contextmanager
def gathered(entry: Any, settings: DeepSpeed, *, writer: int | None = None) -> Iterator[None]:
    """Gather a parameter on every process; what rank `writer` writes to it is kept. Buffers are never sharded."""
    import torch

    if settings.zero_stage < 3 or not isinstance(entry, torch.nn.Parameter):
        yield
        return
    import deepspeed

    with deepspeed.zero.GatheredParameters([entry], modifier_rank=writer):
        yield


def _initialize(module: Any, **options: Any) -> Any:
    with kept_buffers(module):
        engine, *_ = _import_deepspeed().initialize(model=module, **options)
    return engine


def _config(settings: DeepSpeed, *, max_grad_norm: float) -> dict[str, Any]:
    """Return DeepSpeed's own configuration. The batch sizes are dummies: accumulation boundaries are set by hand."""
    zero: dict[str, Any] = {"stage": settings.zero_stage}
    if settings.zero_stage == 3:
        zero |= {"stage3_param_persistence_threshold": 0, "stage3_gather_16bit_weights_on_model_save": True}
    if settings.offload:
        zero["offload_optimizer"] = {"device": "cpu"}
    config: dict[str, Any] = {
        "train_micro_batch_size_per_gpu": 1,
        "gradient_accumulation_steps": 1,
        "gradient_clipping": max_grad_norm,
        "zero_optimization": zero,
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
        "steps_per_print": 1 << 60,
    }
    if settings.dtype == "bfloat16":
        config |= {"bf16": {"enabled": True}, "data_types": {"grad_accum_dtype": "fp32"}}
    return config


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
