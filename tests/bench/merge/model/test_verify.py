"""A merge that says done is right: names, shapes, ties, scales; and `check` finds every later difference."""

import json
import math
import shutil
import subprocess
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import pytest
import torch
from forging import RANK_FILE, TINY, save_actor, set_config, tiny_state
from safetensors.torch import load_file, save_file

from tbrm_bench.errors import RunFailed, UserError, install_line
from tbrm_bench.merge import check, merge
from tbrm_bench.merge.cache import is_model, merged
from tbrm_bench.merge.formats.lora import parse
from tbrm_bench.merge.formats.lora_settings import AdapterSettings
from tbrm_bench.merge.model import asking
from tbrm_bench.merge.model.expected import ClassQuestion, Expected
from tbrm_bench.merge.model.verify import Shapes, check_names
from tbrm_bench.merge.model.wrappers import clean_name
from tbrm_bench.models.resolve import resolve_model
from tbrm_bench.weights import read_header, weights_fingerprint

HEAD, EMBEDDING = "lm_head.weight", "model.embed_tokens.weight"
State = dict[str, torch.Tensor]


@pytest.fixture
def actor(tmp_path: Path) -> Path:
    return save_actor(tmp_path / "actor")


def save(folder: Path, state: State) -> None:
    torch.save(state, folder / RANK_FILE)


def test_the_report_and_the_folder_tell_one_story(actor: Path, tmp_path: Path) -> None:
    report = merge(actor, tmp_path / "out", dtype="bfloat16")
    manifest = json.loads((tmp_path / "out" / "tbench_merge.json").read_text())
    assert report.verified
    assert report.fingerprint == manifest["fingerprint"] == weights_fingerprint(tmp_path / "out")
    assert report.num_bytes == sum(file.nbytes for file in load_file(tmp_path / "out" / "model.safetensors").values())
    (source,) = manifest["source"]
    assert (source["name"], source["size"]) == (RANK_FILE, (actor / RANK_FILE).stat().st_size)
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config.get("dtype", config.get("torch_dtype")) == "bfloat16"
    assert resolve_model(str(tmp_path / "out")).path == (tmp_path / "out").resolve()


def test_a_missing_an_unknown_and_a_misshapen_tensor_are_named(actor: Path, tmp_path: Path) -> None:
    state = tiny_state()
    name = next(name for name in state if name.endswith("up_proj.weight"))
    changes: dict[str, State] = {
        "missing": {key: value for key, value in state.items() if key != name},
        "unexpected": state | {"model.layers.0.self_attn.q_norm.weight": torch.ones(4)},
        "another shape": state | {name: state[name][:-1].clone()},
    }
    for word, changed in changes.items():
        save(actor, changed)
        with pytest.raises(RunFailed, match=word) as caught:
            merge(actor, tmp_path / "out")
        assert name in str(caught.value) or "q_norm" in str(caught.value)
        assert not (tmp_path / "out").exists()


def test_what_is_named_is_dropped_and_said(actor: Path, tmp_path: Path) -> None:
    save(actor, tiny_state() | {"model.extra.a": torch.ones(2), "model.extra.b": torch.ones(2)})
    report = merge(actor, tmp_path / "out", drop=["model.extra.*"])
    assert report.dropped == (("model.extra.a", "asked for"), ("model.extra.b", "asked for"))
    assert check(actor, tmp_path / "out").equal
    with pytest.raises(UserError, match=r"model\.extra\.a"):
        merge(actor, tmp_path / "again", drop=["model.extra.aa"])


def faults(have: Shapes, spec: Expected) -> str:
    try:
        check_names(have, spec, [])
    except RunFailed as error:
        return str(error)
    return ""


def test_a_tied_group_is_stored_once_under_any_of_its_names() -> None:
    names: Shapes = {"a": (2,), "b": (2,), "c": (3,)}
    spec = Expected(names, {"b": "a"}, {}, ())
    assert not faults({"a": (2,), "c": (3,)}, spec)
    assert not faults({"b": (2,), "c": (3,)}, spec)
    assert "2 missing" in faults({"c": (3,)}, spec)
    assert "doubled" in faults(names, spec)
    assert "unexpected" in faults({"a": (2,), "c": (3,), "d": (1,)}, spec)
    assert not faults({"a": (2,), "c": (3,), "x.rotary.inv": (1,)}, Expected(names, {"b": "a"}, {}, (r"rotary\.inv",)))


def test_names_on_disk_may_be_those_of_the_hub_or_of_the_memory() -> None:
    spec = Expected({"experts": (4, 2)}, {}, {"experts.0": (2,), "experts.1": (2,)}, ())
    assert check_names({"experts.0": (2,), "experts.1": (2,)}, spec, []) == []
    (warning,) = check_names({"experts": (4, 2)}, spec, [])
    assert "experts.0" in warning
    assert "missing" in faults({"experts.0": (2,)}, spec)


def test_the_class_is_asked_once_a_config(actor: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What changes no name and no shape is not asked again; what may, is."""
    asked: list[Any] = []
    popen = subprocess.Popen

    def count(*args: Any, **options: Any) -> Any:
        asked.append(args)
        return popen(*args, **options)

    monkeypatch.setattr(subprocess, "Popen", count)
    set_config(actor, rms_norm_eps=3e-6, own_option=1)  # an option of which only the class can say what it does
    assert merge(actor, tmp_path / "out").verified
    set_config(actor, dtype="bfloat16", transformers_version="4.1.0")
    assert merge(actor, tmp_path / "again").verified
    assert len(asked) == 1
    config = json.loads((actor / "huggingface" / "config.json").read_text())
    question = ClassQuestion(config | {"num_hidden_layers": 77}, actor / "huggingface" / "config.json")
    question.close()
    assert len(asked) == 2


def test_without_transformers_a_merge_says_what_it_could_not_check(
    actor: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(_: str) -> str:
        raise PackageNotFoundError

    monkeypatch.setattr(asking, "version", missing)
    assert merge(actor, tmp_path / "known").verified
    set_config(actor, own_option=2)
    report = merge(actor, tmp_path / "out")
    assert not report.verified
    assert install_line("hf") in report.unverified


def damage_byte(merged_folder: Path) -> str:
    tensor = list(read_header(merged_folder / "model.safetensors"))[3]
    content = bytearray((merged_folder / "model.safetensors").read_bytes())
    content[tensor.start + 5] ^= 1
    (merged_folder / "model.safetensors").write_bytes(content)
    return tensor.name


def change(edit: Callable[[State], str]) -> Callable[[Path], str]:
    def apply(merged_folder: Path) -> str:
        state = dict(load_file(merged_folder / "model.safetensors"))
        name = edit(state)
        save_file(state, merged_folder / "model.safetensors")
        return name

    return apply


def leave_out(state: State) -> str:
    name = sorted(state)[2]
    del state[name]
    return name


def add(state: State) -> str:
    state["model.more"] = torch.ones(2)
    return "model.more"


def swap_two(state: State) -> str:
    first, second = [name for name in sorted(state) if name.endswith("layernorm.weight")][:2]
    state[first], state[second] = state[second] + 0.5, state[first].clone()
    return first


@pytest.mark.parametrize("damage", [damage_byte, change(leave_out), change(add), change(swap_two)])
@pytest.mark.parametrize("dtype", [None, "bfloat16"])
def test_check_names_what_differs(
    damage: Callable[[Path], str], dtype: str | None, actor: Path, tmp_path: Path
) -> None:
    merge(actor, tmp_path / "out", dtype=dtype)
    report = check(actor, tmp_path / "out")
    assert report.equal
    assert report.fingerprint == weights_fingerprint(tmp_path / "out")
    with pytest.raises(UserError, match=r"/out has a tbench_merge\.json and .*/actor does not, so they are swapped"):
        check(tmp_path / "out", actor)
    name = damage(tmp_path / "out")
    report = check(actor, tmp_path / "out")
    assert not report.equal
    assert name in dict(report.differing)


def test_check_takes_the_step_that_was_merged_and_a_source_that_has_moved(actor: Path, tmp_path: Path) -> None:
    for step in (10, 20):
        shutil.copytree(actor, tmp_path / "run" / f"global_step_{step}" / "actor")
    merge(tmp_path / "run", tmp_path / "out", step=20)
    assert check(tmp_path / "run", tmp_path / "out").equal
    shutil.move(tmp_path / "run" / "global_step_20", tmp_path / "elsewhere")
    assert check(tmp_path / "elsewhere", tmp_path / "out").equal
    with pytest.raises(UserError, match="step 30"):
        check(tmp_path / "run", tmp_path / "out", step=30)


def test_check_notices_another_source(actor: Path, tmp_path: Path) -> None:
    merge(actor, tmp_path / "out")
    state = tiny_state()
    state["model.norm.weight"] = state["model.norm.weight"] + 1
    save(actor, state)
    report = check(actor, tmp_path / "out")
    assert {"model.norm.weight", "tbench_merge.json"} <= dict(report.differing).keys()
    with pytest.raises(UserError, match=r"tbench_merge\.json"):
        check(actor, actor)


def with_head(state: State, head: torch.Tensor) -> State:
    return {name: tensor for name, tensor in state.items() if name != HEAD} | {HEAD: head}


def test_ties_follow_the_config_and_never_the_values(actor: Path, tmp_path: Path) -> None:
    state = {name: tensor for name, tensor in tiny_state().items() if name != HEAD}
    embedding = state[EMBEDDING]
    cases: list[tuple[bool, torch.Tensor | None, str]] = [
        (True, embedding, "once"),  # one storage
        (True, embedding.clone(), "once"),  # a copy of the same values
        (True, None, "once"),
        (True, embedding + 1, "error"),
        (False, embedding, "twice"),
        (False, embedding.clone(), "twice"),
        (False, embedding + 1, "twice"),
        (False, None, "error"),
    ]
    for number, (ties, head, outcome) in enumerate(cases):
        save(actor, state if head is None else with_head(state, head))
        set_config(actor, tie_word_embeddings=ties)
        output = tmp_path / str(number)
        if outcome == "error":
            with pytest.raises(UserError, match="lm_head"):
                merge(actor, output)
            continue
        report = merge(actor, output)
        stored = load_file(output / "model.safetensors")
        assert (HEAD in stored) == (outcome == "twice")
        assert report.tied == (() if outcome == "twice" else ((HEAD, EMBEDDING),))
        assert HEAD not in stored or torch.equal(stored[HEAD], embedding if head is None else head)


def test_a_config_that_is_silent_about_ties_leaves_them_to_the_class(actor: Path, tmp_path: Path) -> None:
    """Qwen2's class does not tie by itself, so a head that shares the embedding's storage is written out."""
    state = {name: tensor for name, tensor in tiny_state().items() if name != HEAD}
    save(actor, with_head(state, state[EMBEDDING]))
    set_config(actor, tie_word_embeddings=None)
    report = merge(actor, tmp_path / "out")
    from transformers import AutoConfig

    assert bool(report.tied) == bool(AutoConfig.from_pretrained(tmp_path / "out").tie_word_embeddings)
    assert report.verified


@pytest.mark.parametrize(
    ("name", "clean"),
    [
        ("module.model.norm.weight", "model.norm.weight"),
        ("module.module._orig_mod.model.norm.weight", "model.norm.weight"),
        ("_fsdp_wrapped_module.model.layers.0._fsdp_wrapped_module._checkpoint_wrapped_module.x", "model.layers.0.x"),
        ("pretrained_model.lm_head.weight", "lm_head.weight"),
        ("model.module.weight", "model.module.weight"),
        ("model._orig_mod.weight", "model.weight"),
    ],
)
def test_wrappers_are_taken_off(name: str, clean: str) -> None:
    assert clean_name(name) == clean
    assert clean_name(clean) == clean


@pytest.mark.parametrize("prefix", ["model.", "policy.", "actor.", "module.model.", "_orig_mod.model.", "learner."])
def test_the_attribute_that_a_trainer_keeps_the_model_in_is_taken_off(prefix: str, actor: Path, tmp_path: Path) -> None:
    save(actor, {f"{prefix}{name}": tensor for name, tensor in tiny_state().items()} | {"v_head.weight": torch.ones(4)})
    report = merge(actor, tmp_path / "out")
    assert report.verified
    assert report.fingerprint == weights_fingerprint(TINY)


def test_value_heads_and_critics_are_dropped_and_said(actor: Path, tmp_path: Path) -> None:
    state = {f"policy.{name}": tensor for name, tensor in tiny_state().items()}
    save(actor, state | {"value_model.score.weight": torch.ones(1, 4), "value_model.norm.weight": torch.ones(4)})
    report = merge(actor, tmp_path / "out")
    assert {name for name, _ in report.dropped} == {"value_model.score.weight", "value_model.norm.weight"}
    assert report.verified


def test_two_names_that_become_one_are_refused(actor: Path, tmp_path: Path) -> None:
    state = tiny_state()
    save(actor, state | {"module.model.norm.weight": state["model.norm.weight"] + 1})
    with pytest.raises(UserError, match=r"module\.model\.norm\.weight"):
        merge(actor, tmp_path / "out")


def test_the_scale_of_an_adapter_is_its_papers() -> None:
    assert AdapterSettings(alpha=32, rank=16, file=Path("adapter_config.json")).scale("x", 16) == 2
    assert AdapterSettings(alpha=32, rank=16, file=Path("adapter_config.json"), is_stabilised=True).scale(
        "x", 16
    ) == 32 / math.sqrt(16)
    settings = AdapterSettings(
        alpha=32, rank=16, file=Path("adapter_config.json"), alphas={"q_proj": 8, "layers.1.v_proj": 4}
    )
    assert settings.scale("model.layers.0.self_attn.q_proj", 16) == 0.5
    assert settings.scale("model.layers.1.v_proj", 4) == 1
    assert settings.scale("model.layers.11.v_proj", 4) == 8
    assert settings.scale("model.my_q_proj", 16) == 2


@pytest.mark.parametrize(
    ("name", "kind", "module"),
    [
        ("base_model.model.model.q.lora_A.default.weight", "lora_A", "model.q"),
        ("base_model.model.model.q.lora_B.weight", "lora_B", "model.q"),
        ("base_model.model.model.e.lora_embedding_A.default", "lora_embedding_A", "model.e"),
        ("base_model.model.model.q.base_layer.weight", "base", "model.q.weight"),
        ("base_model.model.lm_head.modules_to_save.default.weight", "saved", "lm_head.weight"),
        ("base_model.model.lm_head.original_module.weight", "unused", ""),
        ("base_model.model.model.norm.weight", "base", "model.norm.weight"),
    ],
)
def test_names_inside_of_an_adapter(name: str, kind: str, module: str) -> None:
    part = parse(name)
    assert part.kind == kind
    assert kind == "unused" or part.module == module


@pytest.mark.parametrize("name", ["q.lora_magnitude_vector", "q.lora_B.bias", "e.token_adapter.trainable_tokens_delta"])
def test_adapters_that_are_no_sums_are_refused(name: str) -> None:
    with pytest.raises(UserError):
        parse(f"base_model.model.{name}")


def test_an_adapter_in_shards_needs_its_alpha_and_is_merged_with_it(actor: Path, tmp_path: Path) -> None:
    state = tiny_state()
    name = next(name for name in state if name.endswith("q_proj.weight"))
    module = name.removesuffix(".weight")
    out, width = state[name].shape
    a, b = torch.randn(2, width), torch.randn(out, 2)
    prefixed = {f"base_model.model.{key}": value for key, value in state.items() if key != name}
    lora = {f"base_model.model.{module}.lora_{kind}.default.weight": value for kind, value in (("A", a), ("B", b))}
    save(actor, prefixed | lora | {f"base_model.model.{module}.base_layer.weight": state[name]})
    for text in (None, '{"r": 2, "lora_alpha": 0}'):
        if text:
            (actor / "lora_train_meta.json").write_text(text)
        with pytest.raises(UserError, match="--lora-alpha"):
            merge(actor, tmp_path / "out")
    report = merge(actor, tmp_path / "out", lora_alpha=6, dtype="float32")
    assert report.verified
    found = load_file(tmp_path / "out" / "model.safetensors")
    exact = state[name].double() + 3 * b.double() @ a.double()
    assert (found[name].double() - exact).abs().max() < 1e-5
    untouched = next(key for key in state if key.endswith("k_proj.weight"))
    assert torch.equal(found[untouched], state[untouched].float())
    assert check(actor, tmp_path / "out").equal


def test_an_unmerged_checkpoint_is_a_model_to_evaluate(actor: Path, tmp_path: Path) -> None:
    """It is merged into the cache once, and again when its content changes; the folder itself stays as it is."""
    files = sorted(actor.rglob("*"))
    first = resolve_model(str(actor))
    assert is_model(first.path)
    assert not is_model(actor)
    assert weights_fingerprint(first.path) == merge(actor, tmp_path / "out").fingerprint
    assert merged(actor) == first.path
    assert sorted(actor.rglob("*")) == files
    state = tiny_state()
    state["model.norm.weight"] = state["model.norm.weight"] * 2
    save(actor, state)
    assert merged(actor) != first.path
    assert is_model(first.path)
