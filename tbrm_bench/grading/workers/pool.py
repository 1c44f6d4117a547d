"""Verdicts beside a generating engine: what is easy is decided at once, the rest in processes that can be killed.

    with GraderPool(num_workers=1) as pool:
        pool.submit(key, "... \\\\boxed{\\\\sqrt{12}}", Gold(("2\\\\sqrt{3}",)), "stop")
        pool.drain(wait=True)    # [(key, Grade(Status.CORRECT, "\\\\sqrt{12}", "numeric"))]

Extraction and the fast rules run in the calling thread, in time linear in the text; the first answer that they leave
open starts a worker, the next ones as many as are allowed. (Handing the easy ones to workers was measured: sending one
costs as much as deciding.) Verdicts are cached by (gold, answer, policy); the rules do not change while a process
lives.
"""

import threading
from collections import OrderedDict
from collections.abc import Sequence
from functools import lru_cache
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Self

from tbrm_bench.grading.equal.decide import decide
from tbrm_bench.grading.equal.equivalence import Answer, Question, Undecided
from tbrm_bench.grading.find.bare import bare_answer, is_said
from tbrm_bench.grading.find.extract import extract
from tbrm_bench.grading.find.specials import without_specials
from tbrm_bench.grading.limits import MAX_ANSWER_CHARS, MAX_SCAN_CHARS
from tbrm_bench.grading.verdicts import grade_of, grade_without_answer
from tbrm_bench.grading.workers.blame import Blame, is_passing
from tbrm_bench.grading.workers.promise import Promise
from tbrm_bench.grading.workers.queue import Workers, after_fork
from tbrm_bench.grading.workers.scored import MEMORY_LIMIT_MB, ask_scorer
from tbrm_bench.records import DEFAULT_POLICY, FinishReason, Gold, Grade, GradingPolicy, SampleKey, Status

MAX_CACHED = 50_000  # verdicts, the least recently used go first
Key = tuple[Gold, str, GradingPolicy]


class GraderPool:
    """Grades samples in order of arrival; a context manager. Any thread may submit; one thread drains."""

    def __init__(
        self,
        num_workers: int = 1,
        time_limit_s: float = 5.0,
        memory_limit_mb: int = 1024,
        strict_boxed: bool = False,
        answer_tags: bool = False,
        policy: GradingPolicy = DEFAULT_POLICY,
    ) -> None:
        """Start nothing yet. The limits hold for one verdict: processor seconds, megabytes of its process."""
        self.strict_boxed = strict_boxed
        self.answer_tags = answer_tags  # beside boxes, where only these count
        self.policy = policy
        self.workers = Workers(num_workers, time_limit_s=time_limit_s, memory_limit_mb=memory_limit_mb)
        needed_mb = max(memory_limit_mb, MEMORY_LIMIT_MB)
        self.scorers = Workers(num_workers, time_limit_s=time_limit_s, memory_limit_mb=needed_mb)
        self.start_over()
        after_fork(self)

    def start_over(self) -> None:
        """Forget every verdict; a forked child does so, since the threads that would bring them are its parent's."""
        self._done: SimpleQueue[tuple[SampleKey, Grade]] = SimpleQueue()
        self._cache: OrderedDict[Key, Grade | Promise] = OrderedDict()
        self._lock = threading.Lock()
        self._blame = Blame(self.workers.submit)
        self._scorer_blame = Blame(self.scorers.submit)
        self._num_submitted = 0
        self._num_drained = 0

    @property
    def num_pending(self) -> int:
        """Samples submitted whose verdict was not drained yet."""
        return self._num_submitted - self._num_drained

    def submit(self, key: SampleKey, text: str, gold: Gold, finish_reason: FinishReason) -> None:
        """Take one completion; its verdict comes out of `drain`."""
        with self._lock:
            self._num_submitted += 1
        verdict = self.verdict(text, gold, finish_reason)
        if isinstance(verdict, Grade):
            self._done.put((key, verdict))
        else:
            verdict.when_kept(lambda kept: self._done.put((key, kept.wait())))

    def drain(self, *, wait: bool = False) -> list[tuple[SampleKey, Grade]]:
        """Return the available verdicts, in the order in which they were reached; with `wait`, all of them."""
        verdicts: list[tuple[SampleKey, Grade]] = []
        while self.num_pending:
            try:
                verdicts.append(self._done.get(block=wait))
            except Empty:
                break
            self._num_drained += 1
        return verdicts

    def verdict(
        self,
        text: str,
        gold: Gold,
        finish_reason: FinishReason = "stop",
        *,
        strict_boxed: bool | None = None,
        policy: GradingPolicy | None = None,
    ) -> Grade | Promise:
        """Return the grade of one completion, or the promise of it where a worker decides; `drain` leaves it out.

        `strict_boxed` and `policy` are the pool's own where they are None.
        """
        strict = self.strict_boxed if strict_boxed is None else strict_boxed
        try:
            found = extract(text, finish_reason=finish_reason, strict_boxed=strict, answer_tags=self.answer_tags)
        except Exception as error:  # noqa: BLE001  # a mistake of ours costs this verdict, not the caller's run
            return Grade(Status.ERROR, None, f"exception:{type(error).__name__}")
        may_be_bare = found.source != "boxed" and not strict and finish_reason == "stop"
        policy = self.policy if policy is None else policy
        if may_be_bare and (whole := _right_as_a_whole(text, gold, found.answer, policy)):
            return whole
        if found.answer is None:
            return grade_without_answer(found, finish_reason)
        key = (gold, found.answer, policy)
        with self._lock:
            known = self._cache.get(key)
            if known is not None:
                self._cache.move_to_end(key)
                return known
        verdict = ask_scorer(found.answer, gold) if gold.scorer else decide(found.answer, gold, policy)
        if not isinstance(verdict, Undecided):
            grade = grade_of(found.answer, *verdict)
            self._remember(key, grade)
            return grade
        promise = Promise()
        self._remember(key, promise)
        self._ask(verdict.question, key, promise)
        return promise

    def vote_classes(self, answers: Sequence[Sequence[str]]) -> list[list[int]]:
        """Return for each problem the class of each of its answers; mathematically equal answers share a class."""
        from tbrm_bench.grading.vote_classes import classify

        return [classify(row, self.workers.ask) for row in answers]

    def close(self) -> None:
        """Kill the workers; verdicts that are still open become errors."""
        self.workers.close()
        self.scorers.close()

    def __enter__(self) -> Self:
        """Return the pool; nothing starts before it is needed."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        self.close()

    def _ask(self, question: Question, key: Key, promise: Promise) -> None:
        gold = key[0]
        workers, blame = (self.scorers, self._scorer_blame) if gold.scorer else (self.workers, self._blame)

        def keep(answer: Answer) -> None:
            self._keep(key, promise, answer)

        workers.submit(question, lambda answer: blame.settle(answer, question, gold, keep))

    def _keep(self, key: Key, promise: Promise, answer: Answer) -> None:
        grade = grade_of(key[1], answer.verdict, answer.rule)
        self._remember(key, None if is_passing(answer.rule) else grade)
        promise.keep(grade)

    def _remember(self, key: Key, verdict: "Grade | Promise | None") -> None:
        """Cache a verdict or its promise; what failed for no reason of its own (None) is tried again when asked."""
        if len(key[1]) > MAX_ANSWER_CHARS:
            return
        with self._lock:
            if verdict is None:
                self._cache.pop(key, None)
                return
            self._cache[key] = verdict
            self._cache.move_to_end(key)
            if len(self._cache) > MAX_CACHED:
                self._cache.popitem(last=False)


def _right_as_a_whole(text: str, gold: Gold, found: str | None, policy: GradingPolicy) -> Grade | None:
    """Return the grade of a text that is right from its first sign to its last, as it would be in a box.

    None where it is not, or where all of it is the answer that was `found` in it.
    """
    answer = None if gold.scorer else bare_answer(without_specials(text[-MAX_SCAN_CHARS:]))
    if answer is None or answer == found or r"\boxed" in answer:
        return None
    return _whole_verdict(answer, gold, policy, is_alone=found is None)


@lru_cache(maxsize=16_384)  # the k samples of a problem repeat their answers
def _whole_verdict(answer: str, gold: Gold, policy: GradingPolicy, *, is_alone: bool) -> Grade | None:
    verdict = decide(answer, gold, policy)
    if isinstance(verdict, Undecided) or not verdict[0]:
        return None
    # The very words of the gold deny nothing else: "does not exist".
    is_gold = is_alone and verdict[1] in ("string", "text")
    return grade_of(answer, *verdict) if is_gold or is_said(answer) else None
