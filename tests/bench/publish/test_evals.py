"""Scores as community evaluation results: huggingface_hub reads them back, as one pull request and not two."""

import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from hub_client import BACKOFF, loopback_hub
from hub_runs import make_run
from hub_server import HubServer
from huggingface_hub import parse_eval_result_entries

from tbrm_bench.errors import UserError
from tbrm_bench.hub import EvalResult, eval_results_yaml
from tbrm_bench.publish import ModelResults, model_results, propose_results
from tbrm_bench.publish.model_card import with_section
from tbrm_bench.run.result_json import result_from_json
from tbrm_bench.tasks.spec import load_task

MODEL = "ann/model"
SOURCE = "https://hub.invalid/datasets/ann/results"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    with loopback_hub(tmp_path, monkeypatch) as server:
        yield server


def results_of(run: Path) -> ModelResults:
    return model_results(run, MODEL, source_url=SOURCE)


def test_the_file_says_what_the_run_says(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", tasks=("aime24", "arithmetic", "math500"))
    results = results_of(run)
    assert results.path == ".eval_results/run.yaml"
    assert results.skipped == ("arithmetic",)  # its rows are generated
    entries = parse_eval_result_entries(yaml.safe_load(results.content))
    scores = {task.task: task for task in result_from_json((run / "results.json").read_text()).tasks}
    assert [entry.task_id for entry in entries] == ["aime24", "math500"]
    for entry in entries:
        source, score = load_task(entry.task_id).hub, scores[entry.task_id]
        assert source is not None
        assert (entry.dataset_id, entry.dataset_revision) == (source.repo, source.revision)
        assert entry.value == pytest.approx(100 * score.avg, abs=0.005)
        assert (entry.source_url, entry.date) == (SOURCE, "2026-01-31")
        assert entry.notes is not None
        assert f"avg@3 {100 * score.avg:.2f} +- {100 * score.se:.2f}" in entry.notes
        assert "protocol quickstart" in entry.notes


def test_it_comes_as_one_pull_request(hub: HubServer, tmp_path: Path) -> None:
    repo = hub.store.create("models", MODEL)
    main = repo.branches["main"]
    results = results_of(make_run(tmp_path / "run", tasks=("aime24",)))
    first = propose_results(results, MODEL, backoff=BACKOFF)
    assert first == f"{hub.url}/{MODEL}/discussions/1"
    assert propose_results(results, MODEL, backoff=BACKOFF) == first
    assert len(repo.pull_requests) == 1
    assert repo.branches["main"] == main
    proposed = repo.resolve("refs/pr/1")
    assert proposed is not None
    assert hub.store.read(proposed.files[results.path]) == results.content
    # Merged, there is nothing left to propose.
    repo.branches["main"] = proposed.oid
    repo.pull_requests.clear()
    with pytest.raises(UserError, match=r"already holds these results, in \.eval_results/run\.yaml"):
        propose_results(results, MODEL, backoff=BACKOFF)


def test_a_table_in_the_card_takes_its_own_place_and_no_other(hub: HubServer, tmp_path: Path) -> None:
    repo = hub.store.create("models", MODEL)
    results = results_of(make_run(tmp_path / "run", tasks=("aime24", "arithmetic")))
    old = results.section.replace("avg@k", "an earlier table")
    card = "---\nlicense: mit\n---\n# Mine\n<b>stays</b>\r\n"
    for before, after in [
        (card, card + "\n" + results.section),
        (card + old + "The end", card + results.section + "The end"),
    ]:
        assert with_section(before.encode(), "run", results.section) == after.encode()
        assert with_section(after.encode(), "run", results.section) == after.encode()
    assert "| arithmetic |" in results.section  # a table has room for every task
    propose_results(results, MODEL, with_card=True, backoff=BACKOFF)
    proposed = repo.resolve("refs/pr/1")
    assert proposed is not None
    assert hub.store.read(proposed.files["README.md"]) == results.section.encode()
    assert hub.store.read(proposed.files[results.path]) == results.content
    # Merged: only what differs would be proposed, and nothing does.
    repo.branches["main"] = proposed.oid
    repo.pull_requests.clear()
    with pytest.raises(UserError, match="nothing to propose"):
        propose_results(results, MODEL, with_card=True, backoff=BACKOFF)


@pytest.mark.parametrize("broken", [b"\xff", b"<!-- tbench run -->\n", b"<!-- /tbench run --><!-- tbench run -->"])
def test_a_card_that_cannot_be_read_is_left_alone(broken: bytes) -> None:
    with pytest.raises(UserError, match=r"README\.md of the model"):
        with_section(broken, "run", "a table")


def test_a_model_of_others_can_be_proposed_to(hub: HubServer, tmp_path: Path) -> None:
    hub.store.create("models", "bob/model")
    results = results_of(make_run(tmp_path / "run", tasks=("aime24",)))
    assert propose_results(results, "bob/model", backoff=BACKOFF).endswith("/bob/model/discussions/1")
    with pytest.raises(UserError, match="'ann/nothing' is not a model on the Hub"):
        propose_results(results, "ann/nothing", backoff=BACKOFF)


def test_what_cannot_stand_there_is_refused_before_anything_is_opened(hub: HubServer, tmp_path: Path) -> None:
    hub.store.create("models", MODEL)
    measured = {"model": "lab/other@main", "commit": "0" * 40}
    for run, message in [
        (make_run(tmp_path / "a", tasks=("aime24",), skip=1), "aime24 is not complete"),
        (make_run(tmp_path / "b", tasks=("arithmetic",)), "no task of this run comes from a dataset on the Hub"),
        (make_run(tmp_path / "c", tasks=("toy",)), "no task of this run"),
        (make_run(tmp_path / "d", tasks=("aime24",), results=False), "no results.json"),
        (make_run(tmp_path / "e", tasks=("aime24",), about=measured), "measured lab/other@main, but"),
        (make_run(tmp_path / "f", tasks=("aime24",), about={"created": "yesterday"}), "'yesterday', which is not"),
    ]:
        with pytest.raises(UserError, match=message):
            results_of(run)
    assert hub.log == []


GOOD = EvalResult("owner/set", "task", "main", 48.5, "2026-01-31", SOURCE, "tbrm-bench", "avg@8: 48.5 # ± 'x'\n- y")


def test_any_text_survives_the_format() -> None:
    (entry,) = parse_eval_result_entries(yaml.safe_load(eval_results_yaml([GOOD])))
    assert (entry.notes, entry.value, entry.source_name) == (GOOD.notes, GOOD.value, GOOD.source_name)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("value", math.nan, "is undefined"),
        ("value", 100.5, "not between 0 and 100"),
        ("dataset_id", "no owner", "not a Hub id"),
        ("source_url", "javascript:alert(1)", "is not a URL"),
        ("date", "31.1.2026", "not ISO 8601"),
    ],
)
def test_a_wrong_field_is_named(field: str, value: object, message: str) -> None:
    with pytest.raises(UserError, match=message):
        eval_results_yaml([dataclasses.replace(GOOD, **{field: value})])  # type: ignore[arg-type]
