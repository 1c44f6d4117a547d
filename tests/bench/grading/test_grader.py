"""What other programs call: one verdict, many as a stream, reasons, votes; from wherever a trainer calls."""

import asyncio
import gc
import itertools
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tbrm_bench.grading import GraderPool, grade, grade_many
from tbrm_bench.grading.many import MAX_AHEAD
from tbrm_bench.grading.workers.pool import MAX_CACHED
from tbrm_bench.grading.workers.promise import Promise
from tbrm_bench.grading.workers.queue import Workers
from tbrm_bench.records import Gold, Grade, SampleKey, Status

# Every second pair needs a worker.
PAIRS = [(r"\boxed{\sqrt{12}}", r"2\sqrt{3}"), (r"\boxed{7}", "8"), (r"\boxed{\sqrt{13}}", r"2\sqrt{3}"), ("7", "7")]
HANGS_S = 600.0  # nothing here takes so long, on however cold or busy a machine
EXPECTED = [Status.CORRECT, Status.WRONG, Status.WRONG, Status.CORRECT]


def statuses(repeat: int = 1) -> list[Status]:
    return [verdict.status for verdict in grade_many(PAIRS * repeat)]


@pytest.mark.parametrize("num_workers", [1, 3])
def test_verdicts_come_in_order(num_workers: int) -> None:
    found = [verdict.status for verdict in grade_many(PAIRS * 50, num_workers=num_workers)]
    assert found == EXPECTED * 50


def test_pairs_are_read_as_verdicts_are_taken() -> None:
    """An endless source is no trouble, and a stream that is dropped ends its workers."""
    taken = 0

    def endless() -> Iterator[tuple[str, str]]:
        nonlocal taken
        for pair in itertools.cycle(PAIRS):
            taken += 1
            yield pair

    stream = grade_many(endless())
    assert [next(stream).status for _ in range(4)] == EXPECTED
    assert taken <= MAX_AHEAD + 4
    stream.close()  # type: ignore[attr-defined]


def test_from_threads_at_once() -> None:
    found: list[list[Status]] = []
    threads = [threading.Thread(target=lambda: found.append(statuses(5))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [EXPECTED * 5] * 4


def test_from_asyncio_beside_other_tasks() -> None:
    went_on = threading.Event()

    def pairs() -> Iterator[tuple[str, str]]:
        yield from PAIRS
        assert went_on.wait(HANGS_S), "the loop stands still while verdicts are awaited"
        yield from PAIRS

    async def main() -> list[Grade]:
        asyncio.get_running_loop().call_later(0.05, went_on.set)
        return await asyncio.to_thread(list, grade_many(pairs()))

    assert [verdict.status for verdict in asyncio.run(main())] == EXPECTED * 2


def in_child(queue: "multiprocessing.Queue[list[Status]]") -> None:
    queue.put(statuses())
    queue.put([grade(*pair).status for pair in PAIRS])


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_in_children_of_a_process_that_has_graded_and_has_threads(method: str) -> None:
    """A fork copies the parent's locks and pipes; a child must not speak through them."""
    assert grade(*PAIRS[0]).status is Status.CORRECT  # the parent's own worker is running
    context: Any = multiprocessing.get_context(method)
    queue = context.Queue()
    children = [context.Process(target=in_child, args=(queue,)) for _ in range(2)]
    for child in children:
        child.start()
    assert [queue.get(timeout=HANGS_S) for _ in range(4)] == [EXPECTED] * 4
    for child in children:
        child.join()
        assert child.exitcode == 0
    assert grade(*PAIRS[0]).status is Status.CORRECT


def test_a_gold_with_a_tolerance_or_a_string() -> None:
    gold = Gold(("3.14",), abs_tolerance=0.01)
    assert [verdict.status for verdict in grade_many([("3.141", gold), ("3.141", "3.14")])] == ["correct", "wrong"]


def run_script(script: str, *, timeout: float = HANGS_S) -> str:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, timeout=timeout, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_pool_made_before_a_fork_works_on_both_sides_of_it() -> None:
    """The child forgets what its parent waits for, leaves the parent's workers alone, and gets its own."""
    run_script(r"""
        import os, sys, threading
        from tbrm_bench.grading import GraderPool
        from tbrm_bench.records import Gold, SampleKey
        def ask(pool, numbers):
            for n in numbers:
                pool.submit(SampleKey("", "", n), rf"\boxed{{\sqrt{{{4 * n}}}}}", Gold((rf"2\sqrt{{{n}}}",)), "stop")
        with GraderPool(2) as pool:
            numbers = iter(range(1000, 10**6))
            while len(pool.workers.pids) < 2:  # until both have taken a question and run
                ask(pool, [next(numbers)])
            pool.drain(wait=True)
            pids = pool.workers.pids
            ask(pool, range(5, 60))  # on their way while the fork happens
            child = os.fork()
            if child == 0:
                assert pool.num_pending == 0
                ask(pool, range(100, 110))
                found = pool.drain(wait=True)
                pool.close()
                right = sorted(key.sample_index for key, grade in found if grade.status == "correct")
                os._exit(0 if right == [*range(100, 110)] else 1)
            assert os.waitpid(child, 0)[1] == 0
            found = pool.drain(wait=True)
            assert sorted(k.sample_index for k, g in found if g.status == "correct") == [*range(5, 60)]
            assert pool.workers.pids == pids, "no worker was killed by the child"
    """)


def test_a_fork_in_the_middle_of_a_start_does_not_hold_it_up() -> None:
    """The child would hold the pipe by which Popen learns that the worker runs, for as long as it lives itself."""
    run_script(
        r"""
        import os, signal, subprocess, threading, time
        from tbrm_bench.grading import GraderPool
        from tbrm_bench.records import Gold, SampleKey
        begun, execute = threading.Event(), subprocess._fork_exec
        def slow(*args):
            begun.set()
            time.sleep(0.5)  # in which the fork would happen
            return execute(*args)
        subprocess._fork_exec = slow
        with GraderPool() as pool:
            pool.submit(SampleKey("", "", 0), r"\boxed{\sqrt{12}}", Gold((r"2\sqrt{3}",)), "stop")
            begun.wait()
            child = os.fork()
            if child == 0:
                signal.pause()
            waiting = threading.Thread(target=pool.drain, kwargs={"wait": True}, daemon=True)
            waiting.start()
            waiting.join(300)
            os.kill(child, signal.SIGKILL)
            os._exit(1 if waiting.is_alive() else 0)
    """
    )


def test_forks_at_any_moment_find_no_lock_taken() -> None:
    """A trainer's data loader forks while another thread waits for verdicts."""
    run_script(r"""
        import os, threading
        from tbrm_bench.grading import grade, grade_many
        stop = threading.Event()
        def work():
            n = 5
            while not stop.is_set():
                n += 1
                assert grade(rf"\boxed{{\sqrt{{{4 * n}}}}}", rf"2\sqrt{{{n}}}").status == "correct"
        thread = threading.Thread(target=work)
        thread.start()
        for _ in range(4):
            child = os.fork()
            if child == 0:
                fine = [g.status for g in grade_many([(r"\sqrt{12}", r"2\sqrt3")])] == ["correct"]
                os._exit(0 if fine and grade(r"\sqrt{20}", r"2\sqrt5").status == "correct" else 1)
            assert os.waitpid(child, 0)[1] == 0
        stop.set()
        thread.join()
    """)


TORCH = r"""
import multiprocessing, sys, threading
PAIRS = [(r"\boxed{\sqrt{12}}", r"2\sqrt{3}"), (r"\boxed{7}", "8"), (r"\boxed{\int_0^1 2x dx}", "1")] * 5
def statuses():
    from tbrm_bench.grading import grade_many
    return [found.status.value for found in grade_many(PAIRS, num_workers=2)]
def child(queue):
    queue.put(statuses())
if __name__ == "__main__":
    import torch
    torch.set_num_threads(2)
    x = torch.randn(300, 300, requires_grad=True)
    (x @ x).sum().backward()  # the pools of threads of forward and backward are running
    assert threading.active_count() >= 1
    expected = ["correct", "wrong", "correct"] * 5
    assert statuses() == expected
    thread_found = []
    thread = threading.Thread(target=lambda: thread_found.append(statuses()))
    thread.start(); thread.join()
    assert thread_found == [expected]
    for method in ("fork", "spawn"):
        context = multiprocessing.get_context(method)
        queue = context.Queue()
        process = context.Process(target=child, args=(queue,))
        process.start()
        assert queue.get(timeout=600) == expected, method
        process.join()
    (x @ x).sum().backward()
    print("fine")
"""


@pytest.mark.slow  # imports torch
def test_in_a_trainer_whose_threads_have_started(tmp_path: Path) -> None:
    """Under fork and spawn, from the main thread and another one; and torch goes on afterwards."""
    script = tmp_path / "trainer.py"
    script.write_text(TORCH)
    environment = {**os.environ, "OMP_NUM_THREADS": "2"}
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=HANGS_S, check=False, env=environment
    )
    assert done.stdout.strip() == "fine", done.stderr


def test_a_caller_that_ignores_its_childrens_ends_still_learns_of_a_time_limit() -> None:
    run_script(r"""
        import signal
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        from tbrm_bench.grading import grade_many
        pairs = [(r"\boxed{\sum_{k=1}^{10^{9}} \frac{1}{k}}", "5"), (r"\boxed{\sqrt{12}}", r"2\sqrt{3}")]
        found = [(one.status.value, one.rule) for one in grade_many(pairs, time_limit_s=1.0)]
        assert found == [("wrong", "time_limit"), ("correct", "numeric")], found
    """)


def is_running(pid: int) -> bool:
    """Whether a process runs; one that has ended does not, collected or not (PID 1 of a container may not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_no_process_is_left() -> None:
    """A stream read to its end, one dropped in the middle, a pool that nobody closed."""
    pool = GraderPool()
    pool.submit(SampleKey("", "", 0), *PAIRS[0][:1], Gold((PAIRS[0][1],)), "stop")
    pool.drain(wait=True)
    (pid,) = pool.workers.pids
    assert is_running(pid)
    pool.close()
    assert not is_running(pid)
    dropped = Workers(1, time_limit_s=5.0, memory_limit_mb=1024)
    done = threading.Event()
    dropped._desk.put({"op": "equal", "left": r"\sqrt{12}", "right": r"2\sqrt{3}"}, lambda _: done.set())
    assert done.wait(HANGS_S)
    (pid,) = dropped.pids
    del dropped
    gc.collect()
    deadline = time.monotonic() + HANGS_S
    while is_running(pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not is_running(pid)


def test_interrupting_the_caller_leaves_no_worker(tmp_path: Path) -> None:
    script = (
        "import sys, time\nfrom tbrm_bench.grading import GraderPool\nfrom tbrm_bench.records import Gold, SampleKey\n"
        "pool = GraderPool()\npool.submit(SampleKey('', '', 0), r'\\sqrt{12}', Gold((r'2\\sqrt3',)), 'stop')\n"
        "pool.drain(wait=True)\nprint(pool.workers.pids[0], flush=True)\ntime.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        process.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + HANGS_S
    while is_running(pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not is_running(pid)


def test_a_promise_calls_whoever_asks_exactly_once_and_wakes_all_who_wait() -> None:
    verdict = Grade(Status.WRONG, "1", "integer")
    for _ in range(50):
        promise, calls, woken = Promise(), list[int](), list[Grade]()
        waiting = [threading.Thread(target=lambda p=promise, w=woken: w.append(p.wait())) for _ in range(3)]
        asking = [
            threading.Thread(target=lambda p=promise, c=calls: p.when_kept(lambda _: c.append(1))) for _ in range(3)
        ]
        keeping = threading.Thread(target=promise.keep, args=(verdict,))
        threads = [*waiting, *asking, keeping]
        random.shuffle(threads)
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        assert (len(calls), woken) == (3, [verdict] * 3)


def test_the_cache_is_bounded_and_keeps_what_is_used() -> None:
    with GraderPool() as pool:
        for number in range(MAX_CACHED + 100):
            pool._remember((Gold(("1",)), str(number)), Grade(Status.WRONG, str(number), "integer"))
            pool.verdict(r"\boxed{0}", Gold(("1",)))
        assert len(pool._cache) == MAX_CACHED
        assert (Gold(("1",)), "0") in pool._cache
        assert (Gold(("1",)), "1") not in pool._cache


def test_the_same_answer_to_another_gold_is_another_verdict() -> None:
    """Tolerance and kind are part of what is cached."""
    golds = [Gold(("3.14",)), Gold(("3.14",), abs_tolerance=0.01), Gold(("3.15",)), Gold(("3.141",))]
    with GraderPool() as pool:
        for _ in range(2):
            found = [pool.verdict(r"\boxed{3.141}", gold) for gold in golds]
            assert [one.status for one in found if isinstance(one, Grade)] == ["wrong", "correct", "wrong", "correct"]


# What is hard on a reader: openings that nothing closes, phrases that announce an answer, white space.
PIECES = [
    *(r"\boxed", r"\boxed{", "{", "}", "$", r"\(", r"\[", r"\$", r"\text{", r"\frac{", "(", "^", "-", ",", "="),
    *(
        "answer is ",
        "final answer is ",
        "####",
        "<think>",
        "<answer>",
        "I hope ",
        "so ",
        "is ",
        " and ",
        "**",
        " ",
        "\n",
    ),
]


@pytest.mark.parametrize("start", ["", r"\boxed{", "answer: ", "final answer is $", "<think>"])
def test_what_runs_in_the_callers_thread_is_linear_in_the_text(start: str) -> None:
    """No worker would be killed for it: 50,000 characters of anything take a fraction of a second."""
    rng = random.Random(start)
    units = [*PIECES, *("".join(rng.choices(PIECES, k=rng.randint(2, 3))) for _ in range(30))]
    for unit in units:
        text = start + unit * (50_000 // len(unit))
        began = time.thread_time()
        with GraderPool() as pool:
            pool.verdict(text, Gold(("7",)))
        assert time.thread_time() - began < 0.5, text[:80]


VOTES = [
    # each class once in every spelling; 50 is no 50 %
    ["0.5", "1/2", r"\frac12", r"50\%", r"\frac{2}{4}", "x = 0.5", ".5", "0.50"],
    ["50", "50.0", r"\frac{100}{2}"],
    [r"2\sqrt{3}", r"\sqrt{12}", r"\frac{6}{\sqrt3}"],
    ["3, 5", "5, 3", r"\{3,5\}", "x=3, x=5"],
    ["(3,5)", r"\left(3, 5\right)"],
    [r"\text{east}", "East"],
    ["0.333", r"\frac{333}{1000}"],
    ["1/3", r"\frac{1}{3}", r"0.\overline{3}"],
]


def test_votes_are_transitive_and_blind_to_order_and_number() -> None:
    """However the answers of a problem are shuffled, repeated or left out, those that vote together are the same."""
    group_of = {answer: group for group, answers in enumerate(VOTES) for answer in answers}
    rng = random.Random(0)
    with GraderPool() as pool:
        for _ in range(20):
            answers = rng.choices(list(group_of), k=rng.randint(1, 30))
            (classes,) = pool.vote_classes([answers])
            for (one, class_one), (other, class_other) in itertools.combinations(zip(answers, classes, strict=True), 2):
                assert (class_one == class_other) == (group_of[one] == group_of[other]), (one, other)


def test_votes_never_join_what_grading_keeps_apart() -> None:
    """Who votes together is right together, for every gold among them."""
    everything = [answer for answers in VOTES for answer in answers]
    with GraderPool() as pool:
        (classes,) = pool.vote_classes([everything])
    for gold in (r"\frac12", "50", r"2\sqrt3", r"\frac13", "(3,5)"):
        right = {answer: grade(rf"\boxed{{{answer}}}", gold).status is Status.CORRECT for answer in everything}
        for class_ in set(classes):
            members = [answer for answer, own in zip(everything, classes, strict=True) if own == class_]
            plain = [
                right[answer] for answer in members if "%" not in answer
            ]  # 50 % of the question is left to the gold
            assert len(set(plain)) <= 1, (gold, members)
