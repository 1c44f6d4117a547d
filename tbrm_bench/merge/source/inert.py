"""The names that a checkpoint's pickle may use, and the inert things that they are turned into.

No class of torch, DeepSpeed or numpy is imported or called. A name on the list becomes a `Stub` that keeps what the
pickle gave it, or one of the short functions below that build a `LazyTensor`; every other name is refused. Each of them
is sealed: a hostile pickle that tries to change a class or a function (the BUILD opcode does that) fails.
"""

from collections.abc import Callable
from typing import Any

from tbrm_bench.merge.source.byte_ranges import Storage
from tbrm_bench.merge.source.dtypes import BY_STORAGE, BY_TORCH, DType
from tbrm_bench.merge.source.tensors import LazyTensor


class Sealed(type):
    """The metaclass of what pickles may hold: its classes cannot be changed."""

    def __setattr__(cls, name: str, value: object) -> None:
        raise TypeError(f"{cls.__name__} is sealed")


class Stub(metaclass=Sealed):
    """An object of some library, as the arguments and the state that its pickle carried."""

    __slots__ = ("args", "state")
    qualified = "?"
    args: tuple[Any, ...]
    state: dict[str, Any]

    def __new__(cls, *args: Any, **_: Any) -> "Stub":
        stub = object.__new__(cls)
        stub.args, stub.state = args, {}
        return stub

    def __setstate__(self, state: Any) -> None:
        self.state = as_state(state)

    def get(self, name: str, default: Any = None) -> Any:
        """Return an attribute that the pickled object had."""
        return self.state.get(name, default)

    @property
    def kind(self) -> str:
        """The class's own name, "DTensor"."""
        return self.qualified.rpartition(".")[2]


class Mapping(dict[Any, Any], metaclass=Sealed):
    """A dictionary of any kind; attributes beside its items are dropped."""

    __slots__ = ()

    def __init__(self, *args: Any, **_: Any) -> None:
        # OrderedDict(pairs) and defaultdict(factory, pairs): what is not a mapping or pairs is a factory.
        for arg in args:
            if isinstance(arg, dict | list | tuple):
                dict.update(self, arg)

    def __setstate__(self, state: Any) -> None:
        pass


class Function:
    """A callable that a pickle may call; it has no attribute that could be set."""

    __slots__ = ("_call",)
    _call: Callable[..., Any]

    def __init__(self, call: Callable[..., Any]) -> None:
        object.__setattr__(self, "_call", call)

    def __call__(self, *args: Any) -> Any:
        return self._call(*args)

    def __setattr__(self, name: str, value: object) -> None:
        raise TypeError("a function is sealed")


def as_state(state: Any) -> dict[str, Any]:
    """Return what an object's state says, whether it is a dictionary or a pair of one and its slots."""
    if isinstance(state, tuple) and len(state) == 2:
        return as_state(state[0]) | as_state(state[1])
    if isinstance(state, dict):
        return {str(key): value for key, value in dict.items(state)}
    return {} if state is None else {"state": state}


def _rebuild_tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> LazyTensor:
    store, dtype = storage
    return _tensor(store, dtype, offset, shape, strides)


def _rebuild_tensor_v3(
    storage: Any, offset: Any, shape: Any, strides: Any, _grad: Any, _hooks: Any, dtype: Any, *_: Any
) -> LazyTensor:
    return _tensor(storage[0], dtype, offset, shape, strides)


def _tensor(storage: Any, dtype: Any, offset: Any, shape: Any, strides: Any) -> LazyTensor:
    if not isinstance(storage, Storage) or not isinstance(dtype, DType) or type(offset) is not int:
        raise TypeError("a tensor without a storage")
    if any(type(size) is not int for size in (*shape, *strides)):
        raise TypeError("a tensor without a shape")
    tensor = LazyTensor(storage, dtype, offset, tuple(shape), tuple(strides))
    tensor.check()
    return tensor


def _rebuild_from_type(function: Any, _type: Any, args: Any, state: Any) -> Any:
    """torch's way to pickle a subclass of Tensor: build it, then give it its state."""
    if not isinstance(function, Function):
        raise TypeError("a tensor that is not rebuilt by a function of torch")
    value = function(*args)
    if isinstance(value, Stub):
        value.state = as_state(state)
    return value


def _rebuild_wrapper(cls: Any, *args: Any) -> Stub:
    if not (isinstance(cls, type) and issubclass(cls, Stub)):
        raise TypeError("a wrapped tensor of no known class")
    return cls(*args)


def _first(value: Any = None, *_: Any) -> Any:
    return value


def _size(values: Any = ()) -> tuple[Any, ...]:
    return tuple(values)


def _nothing(*_: Any) -> None:
    """Devices, layouts, memory formats, flags: said by pickles, of no use here."""


def _getattr(owner: Any, name: Any) -> Any:
    # ShardedTensor's own way to name its nested class; nothing is looked up.
    return stub_class(f"{getattr(owner, 'qualified', '?')}.{name}") if type(name) is str else None


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "torch._utils._rebuild_tensor": _rebuild_tensor,
    "torch._utils._rebuild_tensor_v2": _rebuild_tensor,
    "torch._utils._rebuild_tensor_v3": _rebuild_tensor_v3,
    "torch._utils._rebuild_parameter": _first,
    "torch._utils._rebuild_parameter_with_state": _first,
    "torch._utils._rebuild_wrapper_subclass": _rebuild_wrapper,
    "torch._tensor._rebuild_from_type_v2": _rebuild_from_type,
    "torch.Size": _size,
    "torch.device": _nothing,
    "torch.serialization._get_layout": _nothing,
    "builtins.getattr": _getattr,
    "builtins.set": _size,
    "builtins.frozenset": _size,
    "builtins.slice": _nothing,
    "builtins.complex": _nothing,
    "_codecs.encode": _nothing,
}
_MAPPINGS = {"collections.OrderedDict", "collections.defaultdict", "collections.Counter", "builtins.dict"}
# Classes by their own name in any module below a package: they have moved between versions.
_TORCH_DISTRIBUTED = {
    # DTensor
    "DTensor", "DTensorSpec", "TensorMeta", "ShardOrderEntry", "DeviceMesh", "_MeshLayout", "_FlatLayout",
    "Shard", "_StridedShard", "Replicate", "Partial", "_Partial", "_NormPartial", "_MaskPartial", "MaskBuffer",
    # ShardedTensor
    "ShardedTensor", "ProcessGroupState", "ShardMetadata", "ShardedTensorMetadata", "TensorProperties",
    "MEM_FORMAT_ENCODING", "ChunkShardingSpec", "EnumerableShardingSpec", "_remote_device",
    # distributed checkpoints
    "Metadata", "TensorStorageMetadata", "BytesStorageMetadata", "ChunkStorageMetadata", "_MEM_FORMAT_ENCODING",
    "MetadataIndex", "StorageMeta", "_StorageInfo", "_StoragePrefix",
}  # fmt: skip
_DEEPSPEED = {
    "LossScaler", "DynamicLossScaler", "LossScalerBase", "ZeroStageEnum", "OffloadDeviceEnum", "fragment_address",
}  # fmt: skip
_OTHERS = {
    "torch.nn.parameter.Parameter", "torch.Tensor", "numpy.ndarray", "numpy.dtype",
    "numpy._core.multiarray._reconstruct", "numpy.core.multiarray._reconstruct",
    "numpy._core.multiarray.scalar", "numpy.core.multiarray.scalar",
    "argparse.Namespace", "types.SimpleNamespace", "datetime.datetime", "datetime.timedelta", "datetime.date",
    "pathlib.PosixPath", "pathlib.PurePosixPath", "pathlib.Path", "pathlib._local.PosixPath",
}  # fmt: skip
_STUBS: dict[str, type[Stub]] = {}


def stub_class(qualified: str) -> type[Stub]:
    """Return the sealed class that stands for a library's class, always the same one for a name."""
    if qualified not in _STUBS:
        _STUBS[qualified] = type.__call__(Sealed, qualified, (Stub,), {"qualified": qualified, "__slots__": ()})
    return _STUBS[qualified]


def allowed(module: str, name: str) -> Any:
    """Return what a global name of a pickle stands for, None if no checkpoint needs it."""
    module = {"__builtin__": "builtins", "copy_reg": "copyreg"}.get(module, module)
    qualified = f"{module}.{name}"
    if qualified in _FUNCTIONS:
        return _SEALED[qualified]
    if qualified in _MAPPINGS:
        return Mapping
    if module == "torch" and name in BY_TORCH:
        return BY_TORCH[name]
    if module in ("torch", "torch.storage") and name in BY_STORAGE:
        return BY_STORAGE[name]
    if _is_known_class(module, name):
        return stub_class(qualified)
    return None


def _is_known_class(module: str, name: str) -> bool:
    if module.startswith("torch.distributed.") or module == "torch.distributed":
        return name in _TORCH_DISTRIBUTED
    if module.startswith("deepspeed."):
        return name in _DEEPSPEED
    return f"{module}.{name}" in _OTHERS or (module == "numpy.dtypes" and name.endswith("DType"))


_SEALED = {name: Function(call) for name, call in _FUNCTIONS.items()}
