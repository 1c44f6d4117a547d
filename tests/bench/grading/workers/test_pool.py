"""The pool under attack: typed statuses within the limits, the pool alive, the other verdicts unharmed."""

import dataclasses
import os
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from tbrm_bench.grading import GraderPool, grade, grade_many
from tbrm_bench.grading.workers.process import WorkerProcess
from tbrm_bench.records import Gold, SampleKey, Status

HARD = Gold((r"2\sqrt{3}",))
SYMBOLIC = Gold((r"\frac{1}{2}",))
# SymPy's sums of so many terms never end in our lifetime.
ENDLESS = r"\boxed{\sum_{k=1}^{10^{9}} \frac{1}{k}}"


def key(index: int) -> SampleKey:
    return SampleKey("task", "problem", index)


def test_an_answer_that_takes_too_long_is_wrong_and_harms_no_other() -> None:
    with GraderPool(time_limit_s=1.0) as pool:
        pool.submit(key(0), ENDLESS, SYMBOLIC, "stop")
        for index in range(1, 20):
            pool.submit(key(index), rf"\boxed{{\sqrt{{{11 + index}}}}}", HARD, "stop")
        verdicts = dict(pool.drain(wait=True))
    assert verdicts[key(0)].status is Status.WRONG
    assert verdicts[key(0)].rule == "time_limit"
    assert [index for index in range(1, 20) if verdicts[key(index)].status is Status.CORRECT] == [1]
    assert {verdicts[key(index)].status for index in range(2, 20)} == {Status.WRONG}


def test_a_worker_that_dies_idle_costs_no_verdict() -> None:
    worker = WorkerProcess(time_limit_s=5.0, memory_limit_mb=1024)
    question = {"op": "equal", "left": r"\sqrt{12}", "right": r"2\sqrt{3}"}
    assert worker.ask(question)[:2] == (True, "numeric")
    assert worker._process is not None
    worker._process.kill()
    assert worker.ask(question)[:2] == (True, "numeric"), "who was killed unasked is replaced"
    worker.close()
    assert worker.ask(question)[:2] == (None, "pool_closed")


def test_a_question_beyond_the_memory_limit_is_typed_and_the_next_is_answered() -> None:
    worker = WorkerProcess(time_limit_s=5.0, memory_limit_mb=40)
    gold = dataclasses.asdict(Gold(("1",)))
    # SymPy alone needs more than that.
    answer = worker.ask({"op": "grade", "answer": r"\int_0^1 2x dx", "gold": gold, "symbolic": True})
    assert answer[:2] == (None, "memory_limit")
    assert worker.ask({"op": "equal", "left": r"\sqrt{12}", "right": r"2\sqrt{3}"})[:2] == (True, "numeric")
    worker.close()


# What sitecustomize.py of a folder on the path does to a worker, by the answer.
FAULTS = r"""
import ctypes, os, signal, sys, time
if "tbrm_bench.grading.workers.worker" in " ".join(sys.orig_argv):
    from tbrm_bench.grading.equal import equivalence
    once = os.path.dirname(__file__) + "/once"
    whole = equivalence.decide_fully
    def act(answer):
        if "666" in answer: ctypes.string_at(0)  # a fault
        if "777" in answer: os.kill(os.getpid(), signal.SIGKILL)
        if "888" in answer: time.sleep(3600)
        if "999" in answer:
            while True: pass
        if "555" in answer: [0] * 10**9
        if "444" in answer: raise KeyError(answer)
        if "222" in answer and not os.path.exists(once):
            open(once, "w").close()
            raise KeyError(answer)
        if "333" in answer: os._exit(0)
    def decide_fully(request):
        act(request["answer"])
        return whole(request)
    equivalence.decide_fully = decide_fully
"""
OUTCOMES = {
    "666": (Status.WRONG, "worker_crashed"),
    "777": (Status.ERROR, "worker_died"),
    "333": (Status.ERROR, "worker_died"),
    "888": (Status.ERROR, "worker_starved"),
    "999": (Status.WRONG, "time_limit"),
    "555": (Status.WRONG, "memory_limit"),
    "444": (Status.WRONG, "exception:KeyError"),
}


@pytest.fixture
def faulty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sitecustomize.py").write_text(FAULTS)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])


@pytest.mark.usefixtures("faulty")
@pytest.mark.parametrize("num_workers", [1, 2])
def test_whatever_happens_to_a_worker_costs_the_verdict_that_is_to_blame(num_workers: int) -> None:
    """Crashes, endless loops and bombs cost the answer its reward, kills and hangs do not; all around is judged."""
    pairs = []
    for fault in OUTCOMES:
        roots = [f"{20 + int(fault)}", f"{30 + int(fault)}", f"{40 + int(fault)}", "21", fault]
        pairs += [(rf"\boxed{{2\sqrt{{{root}}}}}", rf"\sqrt{{{4 * int(root)}}}") for root in roots]
    found = list(grade_many(pairs, num_workers=num_workers, time_limit_s=1.0, memory_limit_mb=512))
    assert [(one.status, one.rule) for one in found[4::5]] == list(OUTCOMES.values())
    assert {one.status for index, one in enumerate(found) if index % 5 != 4} == {Status.CORRECT}


@pytest.mark.usefixtures("faulty")
def test_a_failure_is_not_remembered_and_a_limit_is() -> None:
    with GraderPool(time_limit_s=1.0) as pool:
        outcomes = []
        for root in ("222", "222", "999"):
            pool.submit(key(0), rf"\boxed{{2\sqrt{{{root}}}}}", Gold((rf"\sqrt{{{4 * int(root)}}}",)), "stop")
            outcomes += [found.status for _, found in pool.drain(wait=True)]
        assert outcomes == [Status.WRONG, Status.CORRECT, Status.WRONG]
        pool.submit(key(0), r"\boxed{2\sqrt{999}}", Gold((r"\sqrt{3996}",)), "stop")
        assert [found.rule for _, found in pool.drain()] == ["time_limit"], "at once, without a worker"


def test_easy_verdicts_start_no_process() -> None:
    with GraderPool() as pool:
        for index, text in enumerate([r"\boxed{7}", "no box here", r"\boxed{\frac{21}{3}}", r"\boxed{8}", "x" * 10**5]):
            pool.submit(key(index), text, Gold(("7",)), "stop")
        assert [found.status.value for _, found in pool.drain()] == [
            "correct", "no_answer", "correct", "wrong", "no_answer",
        ]  # fmt: skip
        assert pool.workers.num_started == 0
        assert pool.num_pending == 0


def test_num_pending_counts_down_to_nothing() -> None:
    with GraderPool() as pool:
        for index in range(5):
            pool.submit(key(index), r"\boxed{\sqrt{12}}", HARD, "stop")
        assert pool.num_pending == 5
        assert len(pool.drain(wait=True)) == 5
        assert pool.num_pending == 0
        assert pool.drain(wait=True) == []


def test_closing_with_work_left_ends_at_once() -> None:
    pool = GraderPool(time_limit_s=1e5)  # whoever waited for a verdict would never come back
    with pool:
        for index in range(3):
            pool.submit(key(index), ENDLESS, Gold((str(index),)), "stop")
        while not pool.workers.pids:
            time.sleep(0.01)
    assert {verdict.rule for _, verdict in pool.drain(wait=True)} == {"pool_closed"}


def test_many_threads_get_their_own_verdicts() -> None:
    results: dict[int, Status] = {}

    def work(index: int) -> None:
        results[index] = grade(rf"\boxed{{\sqrt{{{4 * index}}}}}", rf"2\sqrt{{{index}}}").status

    threads = [threading.Thread(target=work, args=(index,)) for index in range(2, 12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(results.values()) == {Status.CORRECT}


def test_a_forked_child_has_workers_of_its_own() -> None:
    script = r"""
        import os
        from tbrm_bench.grading import grade
        first = grade(r"\boxed{\sqrt{12}}", r"2\sqrt{3}").status
        child = os.fork()
        if child == 0:
            second = grade(r"\boxed{\sqrt{20}}", r"2\sqrt{5}").status
            os._exit(0 if second == "correct" else 1)
        assert os.waitpid(child, 0)[1] == 0 and first == "correct"
        assert grade(r"\boxed{\sqrt{28}}", r"2\sqrt{7}").status == "correct"
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=True, timeout=600)


def test_a_script_without_a_main_guard_may_grade(tmp_path: Path) -> None:
    """multiprocessing's spawn would import this script again, and again."""
    script = tmp_path / "user_script.py"
    script.write_text(
        "from pathlib import Path\nfrom tbrm_bench.grading import grade\n"
        "Path('runs.txt').open('a').write('x')\n"
        "print(grade(r'\\boxed{\\sqrt{12}}', r'2\\sqrt{3}').status)\n"
    )
    (tmp_path / "json.py").write_text("raise RuntimeError('the working directory shadows a module')\n")
    environment = {**os.environ, "PYTHONSAFEPATH": "1"}
    done = subprocess.run(
        [sys.executable, str(script)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=True,
    )
    assert done.stdout.strip() == "correct"
    assert (tmp_path / "runs.txt").read_text() == "x"


def test_grading_imports_neither_torch_nor_sympy() -> None:
    script = (
        "import sys, tbrm_bench.grading; assert not {'torch', 'vllm', 'sympy', 'mpmath', 'numpy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=600)


@pytest.mark.parametrize(
    "payload",
    [
        "__import__('os').system('touch CANARY')",
        "__import__('os').system('touch CANARY') or 0",
        "(lambda: open('CANARY', 'w'))()",
        r"\int_0^1 __import__('os').system('touch CANARY') dx",
        r"\sum_{k=1}^{2} open('CANARY','w')",
        r"\write18{touch CANARY}",
        r"\input{|touch CANARY}",
        "eval(\"open('CANARY','w')\")",
        "{{().__class__.__bases__[0].__subclasses__()}}",
    ],
)
def test_answers_are_never_run(payload: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for gold in ("0", r"x+\sqrt{2}", r"\text{yes}"):
        assert grade(rf"\boxed{{{payload}}}", gold).status is not Status.CORRECT
    assert list(tmp_path.iterdir()) == []


BOMBS = {
    "tower": "9^{9^{9^{9^9}}}",
    "tower with a letter": "2^{2^{2^{2^{2^{2}}}}}+x",
    "nested powers": "(((2^{99})^{99})^{99})^{99}",
    "factorials": "5" + "!" * 700,
    "huge factorial": "(10^9)!",
    "huge binomial": r"\binom{10^8}{5 \cdot 10^7}",
    "huge angle": r"\sin(10^{100000})",
    "e-notation": "1e999999999",
    "brackets": "(" * 300 + "5" + ")" * 300,
    "fractions": r"\frac{1}{" * 200 + "2" + "}" * 200,
    "signs": "-" * 1500 + "5",
    "divisions": "/".join(["7"] * 390),
    "sum of fractions": "+".join(rf"\frac{{1}}{{{10**9 + i}}}" for i in range(90)),
    "digits": "9" * 1999,
    "plus-minus": r"\pm 1" * 300,
    "commas": "," * 1000,
    "long list": ",".join(map(str, range(500))),
    "letters": "+".join(f"x_{{{i}}}" for i in range(130)),
    "null bytes": "5\x00" * 100,
    "macro": r"\def\x{\x\x}\x",
    "garbage": "a+" * 50_000,
    "long text": r"\text{" + "a" * 90_000 + "}",
    "unicode": "½²√π" * 400,
    "root": r"\sqrt[999999999]{7}",
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_wrong_at_once(name: str) -> None:
    for gold in ("5", r"x+\sqrt{2}"):
        started = time.process_time()  # of this process; a worker's is limited, and its rule would say so
        found = grade(rf"\boxed{{{BOMBS[name]}}}", gold)
        assert found.status is Status.WRONG
        assert found.rule != "time_limit"
        assert time.process_time() - started < 3


def test_a_worker_that_cannot_start_is_an_error_and_not_a_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    with GraderPool() as pool:
        pool.submit(key(0), r"\boxed{\sqrt{12}}", HARD, "stop")
        ((_, found),) = pool.drain(wait=True)
    assert found.status is Status.ERROR
    assert found.rule == "worker_not_started"
