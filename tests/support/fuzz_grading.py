"""Coverage-guided fuzzing of the grader: no crash, every verdict in time, and no answer of another value accepted.

    pip install atheris
    python tests/support/fuzz_grading.py --seconds 3600

Each input is one of three things: a text, which must be extracted and judged within a second; a truth-set prediction
with bytes changed, likewise; or two values made here with exact fractions, spelled as models do, of which the
grader must say whether they are equal. The fractions are the oracle: nothing of the grader decides what is right.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

try:
    import atheris  # type: ignore[import-untyped, unused-ignore]
except ImportError:
    sys.exit("atheris is not installed: pip install atheris")

with atheris.instrument_imports(include=["tbrm_bench.grading"]):
    from tbrm_bench.grading.equal.equivalence import Undecided, decide_fast
    from tbrm_bench.grading.find.extract import extract
    from tbrm_bench.grading.read.parse import readings
    from tbrm_bench.records import Gold

CASES = [json.loads(line) for line in (Path(__file__).parents[1] / "golden" / "grading.jsonl").read_text().splitlines()]
MAX_SECONDS = 1.0

Spell = Callable[[Fraction], str | None]


def integer(value: Fraction) -> str | None:
    return str(value.numerator) if value.denominator == 1 else None


def grouped(value: Fraction) -> str | None:
    return f"{value.numerator:,}" if value.denominator == 1 else None


def braced(value: Fraction) -> str | None:
    return f"{value.numerator:,}".replace(",", "{,}") if value.denominator == 1 else None


def over(value: Fraction) -> str:
    return f"{value.numerator}/{value.denominator}"


def frac(value: Fraction) -> str:
    sign = "-" if value < 0 else ""
    return rf"{sign}\frac{{{abs(value.numerator)}}}{{{value.denominator}}}"


def unreduced(value: Fraction) -> str:
    return rf"\dfrac{{{value.numerator * 3}}}{{{value.denominator * 3}}}"


def decimal(value: Fraction) -> str | None:
    places = next((n for n in range(13) if (value * 10**n).denominator == 1), None)
    if places is None:
        return None
    digits = f"{abs((value * 10**places).numerator):0{places + 1}d}"
    whole, rest = (digits[:-places], digits[-places:]) if places else (digits, "0")
    return f"{'-' if value < 0 else ''}{whole}.{rest}"


def scientific(value: Fraction) -> str | None:
    if not value:
        return None
    exponent = 0
    while abs(value) >= 10:
        value, exponent = value / 10, exponent + 1
    while abs(value) < 1:
        value, exponent = value * 10, exponent - 1
    mantissa = decimal(value)
    return None if mantissa is None else rf"{mantissa} \times 10^{{{exponent}}}"


def with_e(value: Fraction) -> str | None:
    text = scientific(value)
    return None if text is None else text.replace(r" \times 10^{", "e").replace("}", "")


def mixed(value: Fraction) -> str | None:
    if value <= 1 or value.denominator == 1:
        return None
    whole = value.numerator // value.denominator
    rest = value - whole
    return rf"{whole}\frac{{{rest.numerator}}}{{{rest.denominator}}}"


def summed(value: Fraction) -> str:
    return f"{frac(value - 1)}+1"


def named(value: Fraction) -> str:
    return f"x = {frac(value)}"


SPELLINGS: tuple[Spell, ...] = (
    integer, grouped, braced, over, frac, unreduced, decimal, scientific, with_e, mixed, summed, named,
)  # fmt: skip


def spelled(value: Fraction, data: Any) -> str:
    """Return the value in one of the ways, chosen by the input."""
    start = data.ConsumeIntInRange(0, len(SPELLINGS) - 1)
    texts: Iterator[str | None] = (SPELLINGS[(start + step) % len(SPELLINGS)](value) for step in range(len(SPELLINGS)))
    return next(text for text in texts if text is not None)


def some_value(data: Any) -> Fraction:
    """Return a fraction of everyday size, or now and then a very large or small one."""
    value = Fraction(data.ConsumeIntInRange(-(10**6), 10**6), data.ConsumeIntInRange(1, 120))
    return value * Fraction(10) ** data.ConsumeIntInRange(-20, 20) if data.ConsumeBool() else value


def another_value(value: Fraction, data: Any) -> Fraction:
    """Return a value that differs by a sign, a digit, a step, a power of ten, or a turn."""
    change = data.ConsumeIntInRange(0, 5)
    changed = {
        0: -value,
        1: value + 1,
        2: value * 10,
        3: 1 / value if value else Fraction(1),
        4: value + Fraction(10) ** data.ConsumeIntInRange(-6, 6),
        5: Fraction(value.numerator + data.ConsumeIntInRange(1, 9), value.denominator),
    }[change]
    return changed if changed != value else value + 1


def judge(answer: str, gold: str) -> bool | None:
    """Return the fast verdict, within the time; None where a worker would decide."""
    for attempt in range(3):  # a pause of the machine or of the garbage collector is no fault of the grader
        readings.cache_clear()
        started = time.process_time()
        verdict = decide_fast(answer, Gold((gold,)))
        elapsed = time.process_time() - started
        if elapsed < MAX_SECONDS:
            break
        assert attempt < 2, f"{elapsed:.2f} s for {answer!r} against {gold!r}"
    if isinstance(verdict, Undecided):
        return None
    # A rule that is an exception's name is a crash that was caught.
    assert not verdict[1].startswith("exception"), f"{verdict[1]}: {answer!r} against {gold!r}"
    return verdict[0]


def fuzz_values(data: Any) -> None:
    value = some_value(data)
    same = data.ConsumeBool()
    other = value if same else another_value(value, data)
    gold, answer = spelled(value, data), spelled(other, data)
    verdict = judge(answer, gold)
    assert verdict is not (not same), f"{answer!r} against {gold!r}: {verdict}, expected {same}"


def fuzz_rows(data: Any) -> None:
    """Tuples keep their order, intervals their brackets, lists neither."""
    values = [some_value(data) for _ in range(2)]
    if values[0] >= values[1]:
        return
    gold_open, gold_close = data.PickValueInList(["(", "["]), data.PickValueInList([")", "]"])
    open_, close = data.PickValueInList(["(", "["]), data.PickValueInList([")", "]"])
    turned = data.ConsumeBool()
    first, second = reversed(values) if turned else values
    gold = f"{gold_open}{frac(values[0])}, {frac(values[1])}{gold_close}"
    one = spelled(first, data)
    if "=" in one or "," in one:
        return  # x = 1 and 1,234 have no place inside brackets
    answer = f"{open_}{one}, {frac(second)}{close}"
    same = not turned and (open_, close) == (gold_open, gold_close)
    verdict = judge(answer, gold)
    assert verdict is not (not same), f"{answer!r} against {gold!r}: {verdict}, expected {same}"


def fuzz_text(data: Any) -> None:
    case = data.PickValueInList(CASES)
    gold = case["gold"] if isinstance(case["gold"], str) else ", ".join(case["gold"])
    if data.ConsumeBool():
        text = data.ConsumeUnicode(4000)
    else:
        text = case["prediction"]
        for _ in range(data.ConsumeIntInRange(1, 4)):
            place = data.ConsumeIntInRange(0, max(len(text) - 1, 0))
            text = text[:place] + data.ConsumeUnicode(6) + text[place + data.ConsumeIntInRange(0, 6) :]
    found = extract(text)
    judge(found.answer if found.answer is not None else text, gold)


def one_input(raw: bytes) -> None:
    """What the fuzzer calls."""
    data = atheris.FuzzedDataProvider(raw)
    (fuzz_text, fuzz_values, fuzz_rows)[data.ConsumeIntInRange(0, 2)](data)


def main() -> None:
    """Run for the given time, from an empty corpus or from a folder of earlier inputs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--corpus", type=Path)
    args = parser.parse_args()
    options = [sys.argv[0], f"-max_total_time={args.seconds}", "-max_len=600", "-timeout=10", "-print_final_stats=1"]
    if args.corpus:
        args.corpus.mkdir(parents=True, exist_ok=True)
        options.append(str(args.corpus))
    atheris.Setup(options, one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
