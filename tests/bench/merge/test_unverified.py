"""What a merge says about its names: checked or not, and why not; and the same the first time as later."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from forging import RANK_FILE, save_actor, set_config, tiny_state

from tbrm_bench.errors import UserError
from tbrm_bench.merge import check, merge

HEAD, EMBEDDING = "lm_head.weight", "model.embed_tokens.weight"


@pytest.fixture
def actor(tmp_path: Path) -> Path:
    return save_actor(tmp_path / "actor")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"architectures": ["MyOwnForCausalLM"]}, "MyOwnForCausalLM"),
        pytest.param({"model_type": "my_own", "architectures": ["MyOwnLM"]}, "my_own", marks=pytest.mark.slow),
        pytest.param({"model_type": "my_own", "auto_map": {"AutoConfig": "my.Own"}}, "", marks=pytest.mark.slow),
    ],
    ids=["class", "model-type", "remote-code"],
)
def test_a_class_that_cannot_be_built_is_said_by_report_folder_and_check(
    change: dict[str, Any], reason: str, actor: Path, tmp_path: Path
) -> None:
    """It is no failure: the weights are those of the source. But nobody may take the names for checked."""
    set_config(actor, **change)
    report = merge(actor, tmp_path / "out")
    assert not report.verified
    assert reason in report.unverified
    assert report.unverified
    assert any("NOT checked" in warning for warning in report.warnings)
    manifest = json.loads((tmp_path / "out" / "tbench_merge.json").read_text())
    checked = check(actor, tmp_path / "out")
    assert checked.equal
    assert manifest["unverified"] == checked.unverified == report.unverified
    command = [sys.executable, "-m", "tbrm_bench", "merge", str(actor), str(tmp_path / "by-command")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "unchecked   names and shapes" in done.stdout


def test_a_merge_whose_names_were_checked_says_so(actor: Path, tmp_path: Path) -> None:
    assert merge(actor, tmp_path / "out").unverified == check(actor, tmp_path / "out").unverified == ""
    assert "unverified" not in json.loads((tmp_path / "out" / "tbench_merge.json").read_text())


@pytest.mark.parametrize(
    ("ties", "head"),
    [
        pytest.param(ties, head, marks=[] if (ties, head) == (True, "absent") else pytest.mark.slow)
        for ties in (True, False, None)
        for head in ("absent", "shared", "copied")
    ],
)
def test_the_first_merge_reports_the_ties_that_a_later_one_does(
    ties: bool | None, head: str, actor: Path, tmp_path: Path
) -> None:
    """Whether the class's answer is in the cache changes nothing in what is written and reported."""
    state = {name: tensor for name, tensor in tiny_state().items() if name != HEAD}
    if head != "absent":
        state[HEAD] = state[EMBEDDING] if head == "shared" else state[EMBEDDING].clone()
    torch.save(state, actor / RANK_FILE)
    set_config(actor, tie_word_embeddings=ties, own_option=f"{ties}{head}")
    told: list[tuple[object, ...]] = []
    for output in (tmp_path / "first", tmp_path / "later"):
        try:
            report = merge(actor, output)
            told.append((report.tied, report.fingerprint, report.dropped, report.verified))
        except UserError as error:
            told.append((type(error), str(error)))
    assert told[0] == told[1]
    assert (told[0][0] == ((HEAD, EMBEDDING),)) == (ties is True)
