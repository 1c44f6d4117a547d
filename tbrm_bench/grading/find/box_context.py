r"""What stands around a box in its formula and makes its value another one.

    $x = -\boxed{7}$               -{7}            2\cdot\boxed{7}               2\cdot{7}
    $\boxed{7}^2$                  {7}^2           $0 < \boxed{204} < 999$       the chain
    $\boxed{5}\text{ or }6$        {5}\text{ or }6     \frac{\boxed{1}}{\boxed{2}}   the quotient

The answer is then the side of the formula that holds the box. Names, equality signs, commas, points, words and units
around it change nothing: `x = \boxed{7}`, `\boxed{40}\%`, `\boxed{5} = \sqrt{25}`.
"""

import re

from tbrm_bench.grading.find.sentences import MATH

MAX_CHARS = 300  # of a formula on either side of its box
_NEAR = 60  # characters before a box in which its operator is
# What leaves the value of a box alone: a residue's modulus, a unit, minutes of arc, an error bar.
_BEHIND_VALUE = re.compile(
    r"\s*(?:/\s*\\(?:text|mathrm|mbox)(?![a-zA-Z])|\^\s*\{?\s*(?:\\prime|')|(?:\{\s*\}\s*)?\^\s*\{?\s*\\circ"
    r"|\\pm(?![a-zA-Z]))"
)
_RESIDUE = re.compile(r"(?:\\equiv(?![a-zA-Z])|≡)\s*$")
_MODULUS = re.compile(r"\s*\(?\s*\\[pb]?mod(?![a-zA-Z])")
_PLUS = re.compile(r"(?:^|[=&:$\[(])\s*\+\s*$")
_GROUP = r"\{[^{}]*(?:\{[^{}]*\}[^{}]*)*\}"
_BEFORE = re.compile(
    r"(?:\\(?:c?dot|times|div|pm|mp|neq?|neg|not|lnot|lt|gt|log|ln|sin|cos|tan|ast|sqrt(?:\[[^\]]*\])?)\s*\{?"
    rf"|(?<!\*)[-+*/^<≠±×·√¬]\s*\{{?|(?<![=-])>|\\[dtc]?(?:frac|binom)\s*(?:{_GROUP}\s*)?\{{)\s*$|[\d)]$"  # noqa: RUF001
)
_AFTER = re.compile(
    r"\s*(?:[-+/<>≠±×·]|\*(?!\*)|\^(?!\s*\{?\s*\\circ)|\\(?:c?dot|times|div|pm|mp|neq?|[lg]t|choose|over|pmod|bmod)(?![a-zA-Z])"  # noqa: RUF001
    r"|\\(?:text|mbox|mathrm)\s*\{\s*(?:or|to|minus|plus)\b|\}\s*\{)\s*[^\s.*_]|\s*!|[\d{]"
)
# A line without dollar signs: words and the ends of sentences are no part of a formula, nor are bullets and numbers.
_PROSE = re.compile(r"</?[a-zA-Z]\w*>|<\||(?<![\\a-zA-Z])[A-Za-z]{2,}|[.:;!?]\s")
_BULLET = re.compile(r"\s*(?:[-*>•#+]+\s+|\(?\w{1,2}[.)]\s+|\*+|_+)*")
_DASH = re.compile(r"\s*[-+*/<>]\s")
_SIDES = re.compile(
    r"(?<![<>!\\])=|\\(?:implies|Rightarrow|therefore|to|iff|approx|q?quad)(?![a-zA-Z])|&|\\\\|:|,(?!\d{3})|\n|\\text\s*\{[^{}]*\}"
)


def in_formula(text: str, start: int, stop: int) -> str | None:
    """Return the side of a formula that the box at text[start:stop] is only a part of; None if the box is all of it."""
    if not (_changed_before(text[max(0, start - _NEAR) : start]) or _AFTER.match(text, stop)):
        return None
    begin, end = _formula(text, start, stop)
    before, behind = text[max(begin, start - _NEAR) : start], text[stop:end]
    is_alone = _BEHIND_VALUE.match(behind) or (_RESIDUE.search(before) and _MODULUS.match(behind))
    if not (_changed_before(before) or (not is_alone and _AFTER.match(behind))):
        return None
    sides = [side.end() for side in _SIDES.finditer(text, begin, start)]
    return text[sides[-1] if sides else begin : end].strip().rstrip(".,$").strip()


def _changed_before(before: str) -> bool:
    return _BEFORE.search(before) is not None and _PLUS.search(before) is None


def _formula(text: str, start: int, stop: int) -> tuple[int, int]:
    """Return where the formula around a box begins and ends."""
    low = max(0, start - MAX_CHARS)
    formula = next((found for found in MATH.finditer(text, low, stop + MAX_CHARS) if found.end() > start), None)
    if formula is not None and formula.start() <= start and formula.end() >= stop:
        return next(formula.span(index) for index in range(1, 6) if formula.group(index) is not None)
    line = text.rfind("\n", low, start) + 1 or low
    bullet = _BULLET.match(text, line, start)
    begin = max([bullet.end() if bullet else line, *(found.end() for found in _PROSE.finditer(text, line, start))])
    if begin > line and _DASH.match(text, begin, start):  # Answer - \boxed{7}
        begin = start
    end = text.find("\n", stop, stop + MAX_CHARS)
    end = end if end >= 0 else min(len(text), stop + MAX_CHARS)
    prose = _PROSE.search(text, stop, end)
    return begin, stop + len(text[stop : prose.start() if prose else end].rstrip(" .!*_"))
