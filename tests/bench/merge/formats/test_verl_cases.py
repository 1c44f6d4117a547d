"""Where verl's own merger fails, silently or loudly: here each is a right model, or one line that names the fix.

Measured on verl 0.9: a buffer that sorts first makes a quarter of the model with exit code 0, ShardedTensors and
tensor-parallel meshes end in "Default process group has not been initialized", a folder without a tokenizer in a
TypeError after the weights were written.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from checkpoints.compare import assert_bits_equal, expected_state, stored
from checkpoints.variants import Place
from safetensors.torch import load_file

from tbrm_bench.errors import ExitCode, RunFailed, UserError
from tbrm_bench.merge import merge

Find = Callable[[str, str], Place]
TIED = "fsdp2-w4-fp32-tied-uneven"


def refused(place: Place, tmp_path: Path, *words: str, **options: object) -> str:
    """Return the message; the error must be one line with all the words, and leave nothing behind."""
    output = tmp_path / "out" / "model"
    with pytest.raises(UserError) as caught:
        merge(place.checkpoint, output, **options)  # type: ignore[arg-type]
    message = str(caught.value)
    assert "\n" not in message
    assert all(word in message for word in words), message
    assert not output.exists()
    assert not list(tmp_path.glob("out/*")), "a draft was left behind"
    return message


@pytest.mark.parametrize("name", ["fsdp2-w4-fp32-tied-uneven-buffers", "fsdp1-w4-fp32-untied-uneven-buffers"])
def test_a_buffer_that_sorts_first_does_not_decide_how_the_rest_is_sharded(
    name: str, checkpoint: Find, tmp_path: Path
) -> None:
    place = checkpoint("fsdp", name)
    report = merge(place.checkpoint, tmp_path / "out")
    assert stored(tmp_path / "out")["model.embed_tokens.weight"].shape == (1003, 50)
    reasons = dict(report.dropped)
    assert reasons.keys() == {"a_buf", "num_steps", "model.layers.0.scale"}
    assert all(reasons.values())


@pytest.mark.parametrize("name", [TIED, "fsdp1_sharded_tensor-w2-fp32-tied-uneven-noconfig"])
def test_a_tied_head_is_stored_once(name: str, checkpoint: Find, tmp_path: Path) -> None:
    place = checkpoint("fsdp", name)
    report = merge(place.checkpoint, tmp_path / "out")
    names = list(stored(tmp_path / "out"))
    assert "lm_head.weight" not in names
    assert ("lm_head.weight", "model.embed_tokens.weight") in report.tied


def test_a_head_with_values_of_its_own_is_never_left_out_silently(copied: Find, tmp_path: Path) -> None:
    place = copied("fsdp", "fsdp1-w2-bf16-untied-uneven")
    set_config(place, tie_word_embeddings=True)
    refused(place, tmp_path, "lm_head.weight", "tie_word_embeddings")


@pytest.mark.parametrize("rank", range(4))
@pytest.mark.parametrize("with_config", [True, False])
def test_a_missing_rank_is_named(rank: int, with_config: bool, copied: Find, tmp_path: Path) -> None:
    place = copied("fsdp", TIED)
    (place.checkpoint / f"model_world_size_4_rank_{rank}.pt").unlink()
    if not with_config:
        (place.checkpoint / "fsdp_config.json").unlink()
    refused(place, tmp_path, f"model_world_size_4_rank_{rank}.pt")


@pytest.mark.parametrize(
    "name",
    [
        "zero1-w2-bf16-untied-uneven-groups2",
        "zero2-w4-bf16-tied-uneven",
        "zero3-w2-bf16-tied-uneven",
        "zero3-w4-bf16-untied-uneven-sub9000",
    ],
)
def test_a_missing_file_of_deepspeed_is_noticed_even_if_it_is_the_last(name: str, copied: Find, tmp_path: Path) -> None:
    place = copied("zero", name)
    for file in sorted((place.checkpoint / "global_step1").iterdir()):
        hidden = file.rename(tmp_path / file.name)
        refused(place, tmp_path, "global_step1")
        hidden.rename(file)
    world_size = int(name.split("-")[1].removeprefix("w"))
    last = [*(place.checkpoint / "global_step1").glob(f"*_rank_{world_size - 1}_*")]
    assert last
    for file in last:
        file.unlink()
    refused(place, tmp_path, str(world_size))


@pytest.mark.parametrize("name", ["dcp_flat-w4-fp32-tied-uneven", "accelerate1-w2-fp32-tied-uneven"])
def test_a_missing_file_of_a_distributed_checkpoint_is_noticed(name: str, copied: Find, tmp_path: Path) -> None:
    place = copied("dcp", name)
    for file in sorted(place.checkpoint.rglob("*.distcp")):
        if "optimizer" in str(file):
            continue
        hidden = file.rename(tmp_path / file.name)
        refused(place, tmp_path, file.name, base=place.source)
        hidden.rename(file)


def test_a_missing_shard_of_an_index_is_named(copied: Find, tmp_path: Path) -> None:
    place = copied("plain", "plain-safetensors-fp32-tied-sharded")
    (place.checkpoint / "model-00002-of-00003.safetensors").unlink()
    refused(place, tmp_path, "model-00002-of-00003.safetensors")


def test_mixed_world_sizes_are_named(copied: Find, tmp_path: Path) -> None:
    place = copied("fsdp", TIED)
    other = copied("fsdp", "fsdp2-w2-bf16-tied-uneven")
    for file in other.checkpoint.glob("model_*.pt"):
        shutil.copyfile(file, place.checkpoint / file.name)
    refused(place, tmp_path, "2", "4")


def test_a_config_of_another_world_size_is_named(copied: Find, tmp_path: Path) -> None:
    place = copied("fsdp", TIED)
    (place.checkpoint / "fsdp_config.json").write_text('{"FSDP_version": 2, "world_size": 8}')
    refused(place, tmp_path, "8", "4", "fsdp_config.json")


@pytest.mark.parametrize("change", ["tokenizer", "config", "folder"])
def test_what_lies_beside_the_weights_comes_from_the_base(change: str, copied: Find, tmp_path: Path) -> None:
    place = copied("fsdp", TIED)
    home = place.checkpoint / "huggingface"
    for file in home.iterdir():
        if change == "folder" or file.name.startswith(change):
            file.unlink()
    refused(place, tmp_path, "--base")
    report = merge(place.checkpoint, tmp_path / "with-base", base=place.source)
    assert_bits_equal(stored(tmp_path / "with-base"), expected_state(place, report))
    assert (tmp_path / "with-base" / "tokenizer.json").exists()


def test_a_config_without_an_architecture_is_refused(copied: Find, tmp_path: Path) -> None:
    place = copied("fsdp", TIED)
    set_config(place, architectures=None)
    refused(place, tmp_path, "architecture")


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"num_hidden_layers": 3, "layer_types": ["full_attention"] * 3}, "model.layers.2"),
        ({"num_hidden_layers": 1, "layer_types": ["full_attention"]}, "model.layers.1"),
        ({"head_dim": 8}, "model.layers.0.self_attn.q_proj.weight"),
    ],
)
def test_a_config_of_another_model_is_refused(
    change: dict[str, object], word: str, copied: Find, tmp_path: Path
) -> None:
    place = copied("fsdp", TIED)
    set_config(place, **change)
    refused(place, tmp_path, word)


def test_a_head_that_the_config_does_not_tie_is_written_out(copied: Find, tmp_path: Path) -> None:
    """FSDP stores a tied head under both names, so the untied model can be made of it."""
    place = copied("fsdp", TIED)
    set_config(place, tie_word_embeddings=False)
    report = merge(place.checkpoint, tmp_path / "out")
    assert not report.tied
    assert_bits_equal(stored(tmp_path / "out"), load_file(place.reference))


def test_several_steps_are_asked_for(checkpoint: Find, tmp_path: Path) -> None:
    run = tmp_path / "run"
    places = {10: checkpoint("fsdp", TIED), 20: checkpoint("fsdp", "fsdp2-w2-bf16-tied-uneven")}
    for step, place in places.items():
        shutil.copytree(place.checkpoint, run / f"global_step_{step}" / "actor")
    (run / "latest_checkpointed_iteration.txt").write_text("20")
    with pytest.raises(UserError, match=r"10.*20.*--step") as caught:
        merge(run, tmp_path / "out")
    assert caught.value.exit_code == ExitCode.USAGE
    for step, place in places.items():
        report = merge(run, tmp_path / str(step), step=step)
        assert report.step == step
        assert_bits_equal(stored(tmp_path / str(step)), expected_state(place, report))
    with pytest.raises(UserError, match="15"):
        merge(run, tmp_path / "out", step=15)
    assert not (tmp_path / "out").exists()


def test_the_folder_above_the_actor_is_taken(checkpoint: Find, tmp_path: Path) -> None:
    place = checkpoint("fsdp", TIED)
    step = tmp_path / "global_step_30"
    shutil.copytree(place.checkpoint, step / "actor")
    shutil.copytree(checkpoint("fsdp", "fsdp2-w2-bf16-tied-uneven").checkpoint, step / "critic")
    report = merge(step, tmp_path / "out")
    assert (report.step, report.world_size) == (30, 4)
    assert_bits_equal(stored(tmp_path / "out"), expected_state(place, report))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e39])
def test_numbers_that_no_model_has_are_refused(value: float, copied: Find, tmp_path: Path) -> None:
    """NaN anywhere, and finite numbers that the wanted type cannot hold; an infinity that was stored is no NaN."""
    place = copied("fsdp", "fsdp1-w1-fp32-tied-uneven")
    file = place.checkpoint / "model_world_size_1_rank_0.pt"
    state = torch.load(file, weights_only=True)
    state["model.norm.weight"][17] = min(value, 3e38) if value < float("inf") else value
    torch.save(state, file)
    if value == float("inf"):
        merge(place.checkpoint, tmp_path / "out" / "model")
        return
    with pytest.raises(RunFailed, match=r"model\.norm\.weight"):
        merge(place.checkpoint, tmp_path / "out" / "model", dtype="float16")
    assert not (tmp_path / "out" / "model").exists()


def set_config(place: Place, **change: object) -> None:
    file = place.checkpoint / "huggingface" / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
