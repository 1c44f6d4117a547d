"""Universal checkpoints of DeepSpeed: one folder per parameter, whatever the stage and the ranks were.

global_step100_universal/zero/model.norm.weight/fp32.pt     {"param": the fp32 master}, or the bare tensor
global_step100_universal/mp_rank_00_model_states.pt         shapes, buffers, frozen weights, 16-bit weights
"""

from pathlib import Path

from tbrm_bench.errors import UserError
from tbrm_bench.merge.checkpoint import Checkpoint
from tbrm_bench.merge.formats.deepspeed import MODEL_STATES, frozen_parts
from tbrm_bench.merge.formats.zerostate import model_state, param_shapes, shared_names
from tbrm_bench.merge.pieces.tiling import Loaded, Parts, Piece, whole
from tbrm_bench.merge.refusals import DamagedFile
from tbrm_bench.merge.source.byte_ranges import SourceFile
from tbrm_bench.merge.source.dtypes import DType
from tbrm_bench.merge.source.file_names import files_in
from tbrm_bench.merge.source.tensors import LazyTensor
from tbrm_bench.merge.source.unpickle import Archive

NAME = "universal"
TITLE = "DeepSpeed, universal"
FILES = "zero/*/fp32.pt"
OTHER_STATES = ("exp_avg", "exp_avg_sq", "step")


def find(folder: Path) -> Checkpoint | None:
    """Return a folder that DeepSpeed's ds_to_universal.py has written."""
    states = {path: match for path in files_in(folder) if (match := MODEL_STATES.fullmatch(path.name))}
    if not states or not (folder / "zero").is_dir():
        return None
    models = sorted(states, key=lambda path: int(states[path][1] or 0))
    return Checkpoint(NAME, folder, (*models, *sorted(folder.glob("zero/*/fp32.pt"))))


def load(checkpoint: Checkpoint, wanted: DType | None) -> Loaded:
    """Read the masters of all parameters; raises UserError where one is missing or has another size."""
    models = [Archive(SourceFile(path)) for path in checkpoint.files if path.name.endswith("_model_states.pt")]
    states = [model_state(archive) for archive in models]
    state = states[0]
    module = {name: value for name, value in state["module"].items() if isinstance(value, LazyTensor)}
    shapes = {name: shape for group in param_shapes(models[0], state) for name, shape in group.items()}
    loaded = Loaded({}, [archive.file for archive in models])
    loaded.buffers = {name for name in state.get("buffer_names") or [] if isinstance(name, str)}
    loaded.shared = shared_names(state, module)
    trained = frozen_parts(models, states)
    files = {path.parent.name: path for path in checkpoint.files if path.name == "fp32.pt"}
    for name, shape in shapes.items():
        if name not in files:
            raise UserError(f"{checkpoint.root / 'zero'} lacks the folder of parameter {name}; copy all of it")
        archive = Archive(SourceFile(files[name]))
        loaded.files.append(archive.file)
        trained[name] = _master(archive, name, shape)
    for name, tensor in module.items():
        if name in trained:
            loaded.tensors[name] = trained.pop(name)
        elif name not in loaded.shared and tensor.numel:
            loaded.tensors[name] = whole(tensor)
    loaded.tensors |= trained
    return loaded


def _master(archive: Archive, name: str, shape: tuple[int, ...]) -> Parts:
    if archive.root in OTHER_STATES:
        raise UserError(f"{archive.file.path} was saved as {archive.root}.pt, a state of the optimizer; copy it again")
    value = archive.value
    tensor = value.get("param") if isinstance(value, dict) else value
    if not isinstance(tensor, LazyTensor):
        raise DamagedFile(archive.file.path, "it holds no parameter")
    if tensor.shape == shape:
        return whole(tensor)
    numel = 1
    for size in shape:
        numel *= size
    if tensor.numel != numel or not tensor.is_contiguous():
        raise UserError(f"{archive.file.path} has the shape {tensor.shape}, the model's {name} is {shape}")
    return Parts(shape, tensor.dtype, (Piece(tensor.view(0, (numel,)), (0,)),), grid=(numel,))
