"""Which files are the weights: what the fingerprint hashes is what every engine finds in the folder it is given."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tiny_models import OTHER, TENSORS, copy_of_tiny, save, save_shards

from tbrm_bench.errors import UserError
from tbrm_bench.models.door import open_model
from tbrm_bench.weight_files import weight_files
from tbrm_bench.weights import weights_fingerprint

Made = Callable[[Path], None]
INDEX = "model.safetensors.index.json"


def files_that_transformers_reads(folder: Path) -> set[Path]:
    from transformers.modeling_utils import _get_resolved_checkpoint_files

    files, _ = _get_resolved_checkpoint_files(folder, None, None, None, {}, False)
    return {Path(file).resolve() for file in files}


def files_that_vllm_reads(folder: Path) -> set[Path]:
    from vllm.config.load import LoadConfig
    from vllm.model_executor.model_loader.default_loader import DefaultModelLoader

    loader = DefaultModelLoader(LoadConfig())
    return {Path(file).resolve() for file in loader._prepare_weights(str(folder), None, None, True, None)[1]}


def stray(folder: Path) -> None:
    save(folder, TENSORS)
    save(folder, OTHER, "other.safetensors")


def half_precision_beside(folder: Path) -> None:
    save(folder, TENSORS)
    save(folder, OTHER, "model.fp16.safetensors")


def mistral(folder: Path) -> None:
    save_shards(folder, TENSORS)
    save(folder, OTHER, "consolidated.safetensors")


def shards_of_an_older_save(folder: Path) -> None:
    save_shards(folder, OTHER, num=3)
    save_shards(folder, TENSORS)


def index_of_an_older_save(folder: Path) -> None:
    save_shards(folder, OTHER)
    for shard in folder.glob("model-*.safetensors"):
        shard.unlink()
    save(folder, TENSORS)


def another_name(folder: Path) -> None:
    save(folder, TENSORS, "policy.safetensors")


def no_index(folder: Path) -> None:
    save_shards(folder, TENSORS)
    (folder / INDEX).unlink()


def only_consolidated(folder: Path) -> None:
    save(folder, TENSORS, "consolidated.safetensors")


def adapter_beside(folder: Path) -> None:
    save(folder, TENSORS)
    save(folder, {"base_model.model.x.lora_A.weight": np.ones((2, 2), np.float32)}, "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text("{}")


def original_beside(folder: Path) -> None:
    save(folder, TENSORS)
    (folder / "original").mkdir()
    save(folder / "original", OTHER, "consolidated.safetensors")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (stray, "other.safetensors"),
        (half_precision_beside, "model.fp16.safetensors"),
        (mistral, "consolidated.safetensors"),
        (shards_of_an_older_save, ""),
        (index_of_an_older_save, INDEX),
        (another_name, ""),
        (no_index, ""),
        (only_consolidated, ""),
        (adapter_beside, "adapter_model.safetensors"),
        (original_beside, "original/consolidated.safetensors"),
    ],
)
def test_every_engine_reads_what_is_hashed(make: Made, said: str, tmp_path: Path) -> None:
    """And that is the one model in the folder, which is the same as if nothing lay beside it."""
    folder, alone = copy_of_tiny(tmp_path / "m"), copy_of_tiny(tmp_path / "alone")
    make(folder)
    save(alone, TENSORS)
    model, check = open_model(str(folder))
    assert weights_fingerprint(model.path) == weights_fingerprint(folder) == weights_fingerprint(alone)
    warnings = check.finish(engine="vllm")
    assert [said in warning for warning in warnings] == ([True] if said else [])
    found = weight_files(folder)
    assert found is not None
    chosen = {file.resolve() for file in found.files}
    assert files_that_transformers_reads(model.path) == files_that_vllm_reads(model.path) == chosen
    assert not (model.path / "adapter_config.json").exists()


@pytest.mark.parametrize(
    "beside", ["other.safetensors", "adapter_model.safetensors", "consolidated.safetensors", "v.bin"]
)
def test_pickles_are_hashed_and_read_where_they_are_the_model(beside: str, tmp_path: Path) -> None:
    import torch

    folder, alone = copy_of_tiny(tmp_path / "m"), copy_of_tiny(tmp_path / "alone")
    for home in (folder, alone):
        tensors = {name: torch.from_numpy(value.copy()) for name, value in TENSORS.items()}
        torch.save(tensors, home / "pytorch_model.bin")
    shutil.copy(folder / "pytorch_model.bin", alone / "pytorch_model.bin")
    save(folder, OTHER, beside)
    model, check = open_model(str(folder))
    assert beside in check.finish(engine="vllm")[0]
    assert weights_fingerprint(model.path) == weights_fingerprint(alone)
    chosen = {(folder / "pytorch_model.bin").resolve()}
    assert files_that_transformers_reads(model.path) == files_that_vllm_reads(model.path) == chosen


def test_an_ordinary_folder_is_loaded_from_where_it_is(tmp_path: Path) -> None:
    folder = copy_of_tiny(tmp_path / "m")
    save_shards(folder, TENSORS)
    for name in ("training_args.bin", "optimizer.pt", "pytorch_model.bin", "model.gguf"):
        (folder / name).write_bytes(b"x")
    model, check = open_model(str(folder))
    assert (model.path, check.finish(engine="hf")) == (folder.resolve(), [])


def two_models(folder: Path) -> None:
    save_shards(folder, OTHER)
    save(folder, TENSORS)


def lost_shard(folder: Path) -> None:
    save_shards(folder, TENSORS)
    (folder / "model-00002-of-00002.safetensors").unlink()


def lost_shard_and_index(folder: Path) -> None:
    lost_shard(folder)
    (folder / INDEX).unlink()


def outside(folder: Path) -> None:
    save(folder.parent, TENSORS, "outside.safetensors")
    (folder / INDEX).write_text(json.dumps({"weight_map": dict.fromkeys(TENSORS, "../outside.safetensors")}))


def only_an_adapter(folder: Path) -> None:
    (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "owner/base"}))
    save(folder, OTHER, "adapter_model.safetensors")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (two_models, ["holds two models: model.safetensors", "model-00001-of-00002.safetensors"]),
        (lost_shard, ["is in model-00002-of-00002.safetensors, but it is in no file"]),
        (lost_shard_and_index, ["holds 1 of 2 numbered weight files"]),
        (outside, ["outside of its folder", "../outside.safetensors"]),
        (only_an_adapter, ["holds an adapter", "tbench merge", "--base owner/base"]),
    ],
)
def test_what_is_not_one_whole_model_is_refused_by_name(make: Made, said: list[str], tmp_path: Path) -> None:
    folder = copy_of_tiny(tmp_path / "m")
    make(folder)
    with pytest.raises(UserError) as caught:
        open_model(str(folder))
    for words in said:
        assert words in str(caught.value)
    assert "\n" not in str(caught.value)
