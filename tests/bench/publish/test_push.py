"""Push and pull through the real client: equal when it comes back, nothing twice, nothing lost, nothing half."""

import dataclasses
import json
import random
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_client import BACKOFF, TOKEN, loopback_hub
from hub_repos import Commit
from hub_runs import WRONG, add_old_grades, content, give_grades, make_run, make_sample, set_grade
from hub_server import HubServer

from tbrm_bench.errors import RunFailed, UserError
from tbrm_bench.grading import GRADER
from tbrm_bench.publish import Pushed, dry_run, pull_run, push_run
from tbrm_bench.publish.layout import belongs_to, runs_in
from tbrm_bench.records import SampleKey
from tbrm_bench.run.pipeline import regrade
from tbrm_bench.store import RunStore

REPO = "ann/results"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    with loopback_hub(tmp_path, monkeypatch) as server:
        yield server


def push(run: Path, repo: str = REPO, *, public: bool = False, branch: str | None = None) -> Pushed:
    return push_run(run, repo, public=public, branch=branch, backoff=BACKOFF)


def pull(run: Path, repo: str = REPO, *, name: str | None = None, revision: str | None = None) -> Path:
    pull_run(repo, run, name=name, revision=revision, backoff=BACKOFF)
    return run


def head(hub: HubServer, repo: str = REPO, branch: str = "main") -> Commit:
    found = hub.store.repos["datasets", repo].resolve(branch)
    assert found is not None
    return found


def assert_equal(one: Path, other: Path) -> None:
    """Both runs hold the same rows, byte for byte, under the same lock, with the same scores."""
    assert content(one) == content(other)
    for name in ("run.json", "results.json"):
        assert (one / name).read_bytes() == (other / name).read_bytes()


def test_a_run_comes_back_as_it_was(hub: HubServer, tmp_path: Path) -> None:
    run = make_run(tmp_path / "a run", tasks=("toy", "other"), results=False)
    add_old_grades(run)
    before = {file.name: file.read_bytes() for file in run.iterdir()}
    push(run)
    assert {name: (run / name).read_bytes() for name in before} == before
    back = pull(tmp_path / "back")
    assert_equal(run, back)
    with RunStore.open_reader(run) as one, RunStore.open_reader(back) as other:
        assert one.lock_hash == other.lock_hash
        assert list(one.problems()) == list(other.problems())
        assert one.graders() == other.graders() == ["tbrm-0", GRADER]
        assert one.tasks() == other.tasks()
    result, changes = regrade(back)
    assert changes == []
    assert (
        json.loads((back / "results.json").read_text())["tasks"]
        == json.loads((run / "results.json").read_text())["tasks"]
    )
    assert result.lock_hash == one.lock_hash
    # What was pulled is a run like any other: pushed elsewhere it is the same again.
    push(back, "ann/copy")
    assert_equal(back, pull(tmp_path / "again", "ann/copy"))


def test_an_unfinished_run_comes_back_unfinished(hub: HubServer, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", skip=4)
    push(run)
    back = pull(tmp_path / "back")
    assert_equal(run, back)
    with RunStore.open_reader(back) as store:
        assert len(list(store.missing("toy"))) == 4
    assert "incomplete 14/18" in readme(hub)


def readme(hub: HubServer, repo: str = REPO) -> str:
    return hub.store.read(head(hub, repo).files["README.md"]).decode()


def test_a_push_is_one_commit_and_the_second_one_none(hub: HubServer, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    first = push(run)
    assert len(hub.store.repos["datasets", REPO].history()) == 2  # the Hub's own first commit, and the push
    hub.log.clear()
    second = push(run)
    assert hub.uploads() == []
    assert (second.uploads, second.deletions) == ((), ())
    assert second.commit == first.commit == head(hub).oid


def test_the_same_rows_make_the_same_bytes(tmp_path: Path) -> None:
    """The order in which samples were stored does not matter; nor does the file that they came from."""
    run = make_run(tmp_path / "one" / "run", num_problems=40)
    other = tmp_path / "two" / "run"
    with (
        RunStore.open_reader(run) as source,
        RunStore.open_writer(other, lock=source.lock, about=source.about) as store,
    ):
        store.put_problems(source.problems(), {"toy": 3})
        samples = list(source.samples())
        random.Random(7).shuffle(samples)
        store.add_samples(samples)
    give_grades(other)
    assert dry_run_hashes(run) == dry_run_hashes(other)


def dry_run_hashes(run: Path) -> dict[str, str]:
    from tbrm_bench.publish import staged_run

    with staged_run(run) as staged:
        tasks = staged.manifest.tasks.values()
        return {file.path: file.sha256 for task in tasks for file in (*task.shards, staged.manifest.problems)}


def test_a_changed_verdict_sends_its_file_and_the_scores(
    hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tbrm_bench.publish.tables.SHARD_ROWS", 10)
    run = make_run(tmp_path / "run", num_problems=10, num_samples=4)
    first = push(run)
    assert len([path for path, _ in first.uploads if path.startswith("data/")]) == 4
    set_grade(run, SampleKey("toy", "p/3", 0), WRONG)  # was right; the first of four files
    second = push(run)
    sent = {path for path, _ in second.uploads}
    assert sent == {"data/toy/run/00000.parquet", "runs/run/results.json", "runs/run/manifest.json", "README.md"}
    assert_equal(run, pull(tmp_path / "back"))


def test_more_samples_leave_the_full_files_alone(
    hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tbrm_bench.publish.tables.SHARD_ROWS", 10)
    run = make_run(tmp_path / "run", num_problems=10, num_samples=2)
    push(run)
    make_run(run, num_problems=10, num_samples=3)
    sent = {path for path, _ in push(run).uploads}
    assert "data/toy/run/00002.parquet" in sent
    assert not sent & {"data/toy/run/00000.parquet", "data/toy/run/00001.parquet"}
    assert_equal(run, pull(tmp_path / "back"))


def test_files_that_no_longer_belong_are_deleted(
    hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(tmp_path / "run", num_problems=10, num_samples=2)
    with monkeypatch.context() as smaller:
        smaller.setattr("tbrm_bench.publish.tables.SHARD_ROWS", 5)
        push(run)
    assert len(push(run).deletions) == 3
    assert [path for path in head(hub).files if path.startswith("data/")] == ["data/toy/run/00000.parquet"]


def test_private_unless_told_otherwise(hub: HubServer, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    push(run)
    push(run, "lab/public", public=True)
    assert hub.store.repos["datasets", REPO].private
    assert not hub.store.repos["datasets", "lab/public"].private
    # A repository that is public already is not written to by accident.
    with pytest.raises(UserError, match="lab/public is public; give --public"):
        push(run, "lab/public")


def test_runs_share_a_repository(hub: HubServer, tmp_path: Path) -> None:
    runs = [make_run(tmp_path / f"step-{i}", seed=i, tasks=("toy", f"task{i}")) for i in range(3)]
    for run in runs:
        push(run)
    for run in runs:
        assert_equal(run, pull(tmp_path / "back" / run.name, name=run.name))
    text = readme(hub)
    for i, run in enumerate(runs):
        assert f"| {run.name} |" in text
        assert f"config_name: task{i}" in text
    with pytest.raises(UserError, match="holds 3 runs; choose one with --run: step-0, step-1, step-2"):
        pull(tmp_path / "x")
    with pytest.raises(UserError, match="no run 'step-9'; did you mean 'step-"):
        pull(tmp_path / "x", name="step-9")


def test_a_broken_run_of_others_is_named(hub: HubServer, tmp_path: Path) -> None:
    push(make_run(tmp_path / "old"))
    broken = hub.store.put(b'{"schema": 7}')
    for file, message in [("results.json", "results.json has schema 7"), ("run.json", "run.json has schema 7")]:
        before = hub.store.repos["datasets", REPO].commit(
            "main", [("add", f"runs/old/{file}", broken)], message="", parent=None
        )
        with pytest.raises(UserError, match=f"ann/results holds the run old, which cannot be read: {message}"):
            push(make_run(tmp_path / "new", seed=1))
        assert head(hub) == before


def test_a_branch_holds_its_own(hub: HubServer, tmp_path: Path) -> None:
    run, other = make_run(tmp_path / "run"), make_run(tmp_path / "other", seed=1)
    push(run)
    push(other, branch="draft")
    assert runs_in(head(hub).files) == ["run"]
    assert runs_in(head(hub, branch="draft").files) == ["other", "run"]
    assert_equal(other, pull(tmp_path / "back", name="other", revision="draft"))
    with pytest.raises(UserError, match="has no revision 'nowhere'"):
        pull(tmp_path / "x", revision="nowhere")


def test_another_run_of_the_same_name_is_not_overwritten(hub: HubServer, tmp_path: Path) -> None:
    push(make_run(tmp_path / "a" / "run"))
    before = head(hub)
    for other, message in [
        (make_run(tmp_path / "b" / "run", seed=5), "another run named run: its lock is"),
        (make_run(tmp_path / "c" / "run", num_samples=2), "sample 2 of toy has 6 there and 0 here"),
        (make_run(tmp_path / "d" / "run", text_bytes=9), "sample 0 of toy differs"),
    ]:
        with pytest.raises(UserError, match=message):
            push(other)
    assert head(hub) == before


def test_a_dry_run_says_what_a_push_does_and_asks_nothing(
    hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(tmp_path / "run")
    monkeypatch.delenv("HF_TOKEN")
    planned = dry_run(run, REPO)
    assert hub.log == []
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert sorted(push(run).uploads) == sorted(planned)


def test_what_cannot_be_pushed_is_said_before_anything_is_sent(hub: HubServer, tmp_path: Path) -> None:
    stale = make_run(tmp_path / "stale")
    with RunStore.open_grader(stale) as store:
        store.add_grades([(SampleKey("toy", "p/3", 0), WRONG)], GRADER)  # was right
    leaky = make_run(tmp_path / "leaky", about={"command": ["tbench", TOKEN]})
    foreign = make_run(tmp_path / "foreign")
    shutil.copy(make_run(tmp_path / "x", seed=8) / "results.json", foreign / "results.json")
    for run, message in [
        (tmp_path / "nowhere", "not a run directory"),
        (make_run(tmp_path / "ungraded", results=False), "holds no results.json"),
        (stale, "is not current: avg of toy is .*; run `tbench grade`"),
        (leaky, "holds what looks like a token"),
        (foreign, "is of another run"),
    ]:
        with pytest.raises(UserError, match=message) as error:
            push(run)
        assert TOKEN not in str(error.value)
    bad_names = [("results", "has no owner"), ("a/b/c", "not a Hub id"), ("a/b c", "not a Hub id")]
    for repo, message in [*bad_names, ("bob/x", r"not allowed to write to bob/x \(403\)")]:
        with pytest.raises(UserError, match=message):
            push(make_run(tmp_path / "run"), repo)
    assert hub.uploads() == []


def test_what_cannot_be_pulled_leaves_nothing(hub: HubServer, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    push(run)
    target = tmp_path / "target" / "run"
    target.parent.mkdir()
    repo = hub.store.repos["datasets", REPO]
    files = repo.resolve("main")
    assert files is not None
    shard = hub.store.read(files.files["data/toy/run/00000.parquet"])
    manifest = json.loads(hub.store.read(files.files["runs/run/manifest.json"]))
    run_json = json.loads((run / "run.json").read_text())
    for path, data, message in [
        ("data/toy/run/00000.parquet", shard[:-1] + b"\0", "is not the file that was pushed"),
        ("data/toy/run/00000.parquet", None, "lacks data/toy/run/00000.parquet"),
        ("runs/run/run.json", json.dumps(run_json | {"schema": 9}).encode(), "schema 9, this version reads 1"),
        ("runs/run/run.json", json.dumps(run_json | {"lock": {}}).encode(), "changed by hand"),
        ("runs/run/manifest.json", json.dumps(manifest | {"schema": 2}).encode(), "schema 2, this version reads 1"),
        ("runs/run/manifest.json", json.dumps(manifest | {"lock_hash": "0" * 64}).encode(), "its manifest has 0000"),
        ("runs/run/manifest.json", json.dumps(manifest | {"tasks": 3}).encode(), "tasks: 3 is not a table"),
        ("runs/run/manifest.json", b"\xff", "cannot be read as JSON"),
        ("runs/run/manifest.json", None, "holds no run"),
    ]:
        change = ("add", path, hub.store.put(data, is_lfs=path.endswith("parquet"))) if data else ("delete", path, None)
        repo.commit("broken", [("add", name, blob) for name, blob in files.files.items()], message="", parent=None)
        repo.commit("broken", [change], message="", parent=None)
        with pytest.raises((UserError, RunFailed), match=message):
            pull(target, revision="broken")
        assert list(target.parent.iterdir()) == []
        del repo.branches["broken"]
    assert_equal(run, pull(target))
    with pytest.raises(UserError, match="already holds files"):
        pull(target)


def test_a_manifest_cannot_name_files_of_others(hub: HubServer, tmp_path: Path) -> None:
    push(make_run(tmp_path / "run"))
    repo = hub.store.repos["datasets", REPO]
    manifest = json.loads(hub.store.read(head(hub).files["runs/run/manifest.json"]))
    for path in ("../../secret", "data/toy/run/../../../../etc/passwd", "/etc/passwd", "README.md"):
        manifest["problems"]["path"] = path
        blob = hub.store.put(json.dumps(manifest).encode())
        repo.commit("main", [("add", "runs/run/manifest.json", blob)], message="", parent=None)
        with pytest.raises(UserError, match="which is not a file of run"):
            pull(tmp_path / "back")


def test_a_killed_pull_leaves_nothing_that_looks_finished(
    hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    push(make_run(tmp_path / "run"))

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as fault:
        fault.setattr(RunStore, "add_samples", killed)
        with pytest.raises(KeyboardInterrupt):
            pull(tmp_path / "new" / "back")
    assert list((tmp_path / "new").iterdir()) == []
    pull(tmp_path / "new" / "back")


def state_is_whole(hub: HubServer, repo: str = REPO) -> None:
    """Every commit of a repository holds whole runs only: each file of each manifest, with its hash."""
    found = hub.store.repos.get(("datasets", repo))
    for commit in found.history() if found else []:
        for name in runs_in(commit.files):
            manifest = json.loads(hub.store.read(commit.files[f"runs/{name}/manifest.json"]))
            shards = [shard for task in manifest["tasks"].values() for shard in task["shards"]]
            for file in [manifest["problems"], *shards]:
                assert commit.files[file["path"]].sha256 == file["sha256"]
            assert f"| {name} |" in hub.store.read(commit.files["README.md"]).decode()
        known = runs_in(commit.files)
        data = [path for path in commit.files if path.startswith(("data/", "runs/"))]
        assert all(any(belongs_to(path, name) for name in known) for path in data)


def push_under_faults(hub: HubServer, tmp_path: Path, *, num_pushes: int, share: float) -> int:
    """Push and change a verdict again and again while requests fail; return how many pushes came through."""
    run = make_run(tmp_path / "run", num_problems=4)
    failures: list[str] = []
    for number in range(num_pushes):
        right = number % 2 == 0
        set_grade(run, SampleKey("toy", "p/3", 0), WRONG if right else dataclasses.replace(WRONG, rule=f"r{number}"))
        hub.faults.randomize(seed=number, share=share)
        try:
            pushed = push(run)
        except UserError as error:
            failures.append(str(error))
        else:
            assert head(hub).oid == pushed.commit
        finally:
            hub.faults.randomize(seed=0, share=0)
        state_is_whole(hub)
    push(run)
    shutil.rmtree(tmp_path / "back", ignore_errors=True)
    assert_equal(run, pull(tmp_path / "back"))
    for message in failures:
        assert TOKEN not in message
        assert "\n" not in message
    return num_pushes - len(failures)


def test_pushes_under_random_faults_are_whole_or_say_why(hub: HubServer, tmp_path: Path) -> None:
    assert push_under_faults(hub, tmp_path, num_pushes=10, share=0.3) >= 8
    assert hub.faults.num_struck > 20


@pytest.mark.slow
def test_a_hundred_pushes_under_random_faults(hub: HubServer, tmp_path: Path) -> None:
    assert push_under_faults(hub, tmp_path, num_pushes=100, share=0.3) >= 90


@pytest.mark.parametrize("status", [409, 412, 500, 503, 429])
def test_a_refused_commit_is_made_on_the_new_head(hub: HubServer, tmp_path: Path, status: int) -> None:
    hub.faults.add("POST", "/commit/", status=status, times=2, headers={"Retry-After": "0"})
    run = make_run(tmp_path / "run")
    push(run)
    assert len(hub.store.repos["datasets", REPO].history()) == 2
    assert_equal(run, pull(tmp_path / "back"))


def test_a_commit_whose_answer_was_lost_is_not_made_twice(hub: HubServer, tmp_path: Path) -> None:
    hub.faults.add("POST", "/commit/", kind="lost")
    run = make_run(tmp_path / "run")
    assert push(run).commit == head(hub).oid
    assert len(hub.store.repos["datasets", REPO].history()) == 2


def test_a_hub_that_stays_down_is_given_up_on_and_nothing_is_half(hub: HubServer, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    push(run)
    set_grade(run, SampleKey("toy", "p/3", 0), WRONG)
    before = head(hub)
    for path, status in [("/tree/", 503), ("/preupload/", 500), ("/lfs/", 502), ("/commit/", 429), ("/commit/", 409)]:
        hub.faults.add("", path, status=status, times=10_000)
        with pytest.raises(RunFailed, match="again"):
            push_run(run, REPO, backoff=dataclasses.replace(BACKOFF, num_tries=2))
        hub.faults.clear()
        assert head(hub) == before
    push(run)


def push_at_once(hub: HubServer, tmp_path: Path, *, num_pushes: int) -> None:
    runs = [make_run(tmp_path / f"run{i}", seed=i, num_problems=4) for i in range(num_pushes)]
    errors: list[BaseException] = []

    def work(run: Path) -> None:
        try:
            push(run)
        except BaseException as error:  # noqa: BLE001 - told below, in the thread that judges
            errors.append(error)

    threads = [threading.Thread(target=work, args=(run,)) for run in runs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert runs_in(head(hub).files) == sorted(run.name for run in runs)
    assert len(hub.store.repos["datasets", REPO].history()) == 1 + num_pushes
    state_is_whole(hub)
    for run in runs:
        assert_equal(run, pull(tmp_path / "back" / run.name, name=run.name))


def test_pushes_at_the_same_time_all_land(hub: HubServer, tmp_path: Path) -> None:
    push_at_once(hub, tmp_path, num_pushes=3)


@pytest.mark.slow
def test_eight_pushes_at_the_same_time_all_land(hub: HubServer, tmp_path: Path) -> None:
    push_at_once(hub, tmp_path, num_pushes=8)


def test_large_files_go_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with loopback_hub(tmp_path, monkeypatch, part_size=2000, page_size=3) as hub:
        hub.faults.add("PUT", "/lfs/", status=500, skip=1, times=2)
        hub.faults.add("PUT", "/lfs/", kind="cut", skip=2)
        run = make_run(tmp_path / "run", tasks=("toy", "other"), text_bytes=4000)
        push(run)
        assert any(entry.path.endswith("/complete") for entry in hub.log)
        assert_equal(run, pull(tmp_path / "back"))


def test_names_from_outside_are_never_read_as_markup(hub: HubServer, tmp_path: Path) -> None:
    name = "<script>alert(1)</script>|`x` [a](http://b) $c$ **d** ![e](f)\n# g\n---"
    run = make_run(
        tmp_path / "run", about={"model": name, "protocol": name, "command": ["tbench", "```\n</pre>", name]}
    )
    push(run)
    text = readme(hub)
    assert "<script>" not in text.partition("The command")[0]
    table = next(line for line in text.splitlines() if line.startswith("| run |"))
    row = next(line for line in text.splitlines() if line.startswith("| run ") and "alert" in line)
    assert row.count("|") == table.count("|")
    before = text.partition("The command")[0].partition("# Evaluation")[2]
    for mark in ("`x`", "](", "$c$", "**d**", "\n# g"):
        assert mark not in before
    command = text.partition("The command")[2].splitlines()
    fence = command[2].removesuffix("sh")
    assert set(fence) == {"`"}
    assert len(fence) > 3  # longer than the run of backticks inside, which so cannot close it
    assert [line for line in command[3:] if line.strip() == fence] == [fence]


def test_a_dataset_is_made_of_every_task(hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """load_dataset on the pushed layout, without a network."""
    from huggingface_hub import constants

    from tbrm_bench.hub import download_repo

    push(make_run(tmp_path / "one", tasks=("toy", "other")))
    push(make_run(tmp_path / "two", seed=3, tasks=("toy",)))
    folder = download_repo(REPO, repo_type="dataset", local_dir=tmp_path / "data", backoff=BACKOFF).path
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    from datasets import load_dataset

    toy = load_dataset(str(folder), "toy", split="test", cache_dir=str(tmp_path / "arrow"))
    assert len(toy) == 36
    assert sorted(set(toy["run"])) == ["one", "two"]
    other = load_dataset(str(folder), "other", split="test", cache_dir=str(tmp_path / "arrow"))
    assert len(other) == 18
    row = other[1]
    sample = make_sample(0, SampleKey("other", "p/1", 0))
    assert (row["problem_id"], row["sample_index"], row["text"]) == ("p/1", 0, sample.text)
    assert (row["status"], row["extracted"], row["grader"]) == ("wrong", "-7", GRADER)
    assert row["gold"] == ["1"]
    assert row["token_ids"] == list(sample.token_ids) == [2**32 - 1]
