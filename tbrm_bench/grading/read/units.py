"""Units of measure: which are the same, which convert, which contradict each other.

A unit is a product of powers of words. Known words carry a dimension and an exact factor, so that 5 m = 500 cm; an
unknown word ("apples") is its own dimension. Example: `cm^2` is ((("length", 2),), 1/10000).
"""

import re
from fractions import Fraction
from functools import lru_cache

from tbrm_bench.grading.read.counted import counted

Dimensions = tuple[tuple[str, int], ...]
Unit = tuple[Dimensions, Fraction]

NO_UNIT: Unit = ((), Fraction(1))
DEGREE: Unit = ((("angle", 1),), Fraction(1))
RADIAN: Unit = ((("radians", 1),), Fraction(1))
PERCENT: Unit = ((("percent", 1),), Fraction(1, 100))
COUNT = "count"  # the dimension of words that multiply: a dozen is 12 of what is counted
_SINGULAR, _NO_MEASURE = "~", "? "  # marks in a name: one thing that is counted; words that are no unit at all

# Words that describe and measure nothing.
_EMPTY_WORDS = frozenset(
    [
        *("approximately", "about", "exactly", "total", "of", "the", "a", "an", "in", "and", "only", "units", "unit"),
        *("altogether", "all", "left", "remaining", "roughly", "around", "approx", "just", "th", "st", "nd", "rd"),
        *("old", "tall", "long", "wide", "high", "deep", "thick", "away", "apart"),
    ]
)

# Base unit -> its words and their sizes in it. Pounds are money or a mass: only an ounce knows.
_TABLE: dict[str, dict[str, str]] = {
    "length": {
        "m meter metre": "1", "km kilometer kilometre": "1000", "cm centimeter centimetre": "1/100",
        "mm millimeter millimetre": "1/1000", "um micron micrometer micrometre": "1/1000000",
        "nm nanometer nanometre": "1/1000000000", "angstrom": "1/10000000000", "dm decimeter decimetre": "1/10",
        "inch inches in": "254/10000", "foot feet ft": "3048/10000", "yard yd": "9144/10000", "mile mi": "1609344/1000",
        "fm femtometer": "1/1000000000000000", "au": "149597870700",
    },
    "parsec": {"pc parsec": "1", "kpc kiloparsec": "1000", "mpc megaparsec": "1000000"},
    "time": {
        "s sec second": "1", "ms millisecond": "1/1000", "us microsecond": "1/1000000", "ns nanosecond": "1/1000000000",
        "min minute": "60", "h hr hour": "3600", "day": "86400",
        "week": "604800",
    },
    "month": {"month": "1", "year yr": "12"},
    "mass": {"kg kilogram": "1", "g gram": "1/1000", "mg milligram": "1/1000000", "ton tonne": "1000"},
    "pound": {"pound lb": "1", "ounce oz": "1/16"},
    "money": {"dollar usd": "1", "cent": "1/100"},
    "euro": {"euro eur": "1"},
    "radians": {"rad radian": "1"},
    "angle": {"degree deg": "1", "arcminute": "1/60", "arcsecond": "1/3600"},
    "percent": {"percent pct percentage": "1/100"},
    COUNT: {"dozen": "12", "score": "20", "gross": "144"},
    "temperature": {"k kelvin": "1"}, "celsius": {"celsius": "1"}, "fahrenheit": {"fahrenheit": "1"},
    "charge": {"c coulomb": "1", "mc": "1/1000", "uc microcoulomb": "1/1000000", "nc nanocoulomb": "1/1000000000"},
    "amount": {"mol mole": "1"},
    "voltage": {"v volt": "1", "kv kilovolt": "1000", "mv millivolt": "1/1000"}, "resistance": {"ohm": "1"},
    "current": {"amp ampere": "1", "ma milliamp": "1/1000"}, "gallon": {"gallon gal": "1"},
}  # fmt: skip
# Words -> size and the product of powers of base units.
_DERIVED: dict[str, tuple[str, dict[str, int]]] = {
    "liter litre l": ("1/1000", {"length": 3}), "ml milliliter millilitre": ("1/1000000", {"length": 3}),
    "hectare": ("10000", {"length": 2}), "hz hertz": ("1", {"time": -1}), "khz": ("1000", {"time": -1}),
    "mhz": ("1000000", {"time": -1}), "n newton": ("1", {"mass": 1, "length": 1, "time": -2}),
    "kn kilonewton": ("1000", {"mass": 1, "length": 1, "time": -2}),
    "dyne": ("1/100000", {"mass": 1, "length": 1, "time": -2}),
    "j joule": ("1", {"mass": 1, "length": 2, "time": -2}), "erg": ("1/10000000", {"mass": 1, "length": 2, "time": -2}),
    "kj kilojoule": ("1000", {"mass": 1, "length": 2, "time": -2}),
    "kwh": ("3600000", {"mass": 1, "length": 2, "time": -2}),
    "ev": ("1602176634/10000000000000000000000000000", {"mass": 1, "length": 2, "time": -2}),
    "cal calorie": ("4184/1000", {"mass": 1, "length": 2, "time": -2}),
    "kcal kilocalorie": ("4184", {"mass": 1, "length": 2, "time": -2}),
    **{
        name: (f"{1602176634 * 10**power}/{10**28}", {"mass": 1, "length": 2, "time": -2})
        for name, power in (("kev", 3), ("mev", 6), ("gev", 9), ("tev", 12))
    },
    "w watt": ("1", {"mass": 1, "length": 2, "time": -3}),
    "kw kilowatt": ("1000", {"mass": 1, "length": 2, "time": -3}),
    "pa pascal": ("1", {"mass": 1, "length": -1, "time": -2}), "kpa": ("1000", {"mass": 1, "length": -1, "time": -2}),
    "atm atmosphere": ("101325", {"mass": 1, "length": -1, "time": -2}),
}  # fmt: skip
_WORDS: dict[str, Unit] = {
    word: (((dimension, 1),), Fraction(factor))
    for dimension, group in _TABLE.items()
    for words, factor in group.items()
    for word in words.split()
} | {
    word: (tuple(sorted(dimensions.items())), Fraction(factor))
    for words, (factor, dimensions) in _DERIVED.items()
    for word in words.split()
}
# Units that convert into none of the others here: each is a dimension of its own.
_NAMED = frozenset(
    word
    for words in (
        "f farad t tesla wb weber henry lx lux lm lumen cd candela bar psi hp horsepower knot acre quart qt",
        "pint cup tsp tbsp bit byte kb mb gb tb bpm rpm rev px pixel db decibel bq sv amu u da dalton molar",
        "stone carat ly light century decade fortnight rupee inr yen jpy yuan rmb cny won krw peso gbp ruble",
        "franc baht cad aud chf ppm ppb sr torr gpa mpa wh mah furlong cc btu pm am bc ad bce ce clock point",
    )
    for word in words.split()
)
_OPEN = re.compile(r"\.\s*\.|[?!]")  # 5 \text{ ...}: there is more to come, or a doubt
_LOOSE = str.maketrans(".()", "   ")
_COMPOUND = {"mph": "mi per h", "kph": "km per h", "kmh": "km per h", "fps": "ft per s"}
_AMPERE = re.compile(r"(?<![A-Za-z])A(?=\s*(?:$|[/^]))")  # in lower case the article
_DEGREES = re.compile(r"degrees? (?=celsius|fahrenheit)")
_PERCENT_OF = re.compile(r"\bper ?cents?\b(?: of\b\D*)?|\bpct\b\.?|\bpercentage points?\b")
_QUOTIENT = re.compile(r"(?<=[a-z]{3})\s?/\s?(?=[a-z]{3})")  # photons/pulse; 7/x is a quotient
_COUNTS = re.compile(r"\b(?:dozens?|score|gross)\b")
_POWER = re.compile(r"([a-z\u00b5]+)\^?(-?[1-9])")
# Outside \text{} a single letter is a symbol, never a unit, and some words are functions or products of symbols.
_ALSO_SYMBOLS = frozenset(
    [
        *("ms", "mi", "ml", "min", "in", "deg", "hr", "kn", "kw", "pa", "sec", "day"),
        *("us", "ns", "fm", "au", "pc", "mc", "uc", "nc", "kv", "mv", "ma"),
    ]
)


def is_unit_word(word: str) -> bool:
    """Whether a bare word after a value is a unit: `5 cm`, but not `5 m`, in which m may be a symbol."""
    if len(word) > 3 and word.islower() and word not in ("sqrt", "alpha", "beta", "gamma", "theta", "delta", "lambda"):
        return word not in ("where", "otherwise")
    return len(word) > 1 and (_singular(word.lower()) in _WORDS or word in _COMPOUND) and word not in _ALSO_SYMBOLS


def names_a_unit(text: str) -> bool:
    """Whether every word of a text is a known unit, so that behind a value it can mean nothing else: m/s, min, C."""
    unit = word_unit(text)
    return bool(unit[0]) and all(name in _TABLE for name, _ in unit[0])


def contradict(inner: Unit, outer: Unit) -> bool:
    """Whether a quantity in one measure cannot be counted in another as well: 18 km miles, 28 % %, not $5 per hour."""
    measures = all(name in _TABLE and power > 0 for name, power in (*inner[0], *outer[0]))
    return measures and inner != NO_UNIT and (inner != outer or inner == PERCENT)


@lru_cache(maxsize=4096)
def word_unit(text: str) -> Unit:
    """Return the unit that words name: "square feet", "cm", "dollars", "apples"."""
    if re.fullmatch(r"\s*in\.?(?:\^?-?\d)?\s*", text):
        text = text.replace("in", "inch")  # elsewhere a preposition: 5 in total
    text = _AMPERE.sub("amp", text)
    phrase = _PERCENT_OF.sub("percent", text.lower())
    text = re.sub(r"\s*\^\s*\{?\s*(-?\d)\s*\}?", r"^\1", _DEGREES.sub("", phrase))
    plain = re.sub(r"(?<!\^)-", " ", text.replace("/", " per ").translate(_LOOSE))
    total, last, power, sign = NO_UNIT, (NO_UNIT, 1), 1, 1
    for word in " ".join(_COMPOUND.get(word, word) for word in plain.split()).split():
        if match := _POWER.fullmatch(word):
            word, power = match[1], int(match[2])
        if word in ("square", "sq"):
            power = 2
        elif word in ("cubic", "cu"):
            power = 3
        elif word in ("per", "a", "each"):
            sign = -1
        elif word in ("squared", "cubed"):
            if last[0] == NO_UNIT:  # the number's square
                return _unreadable(phrase)
            total = multiply(total, last[0], last[1] * (1 if word == "squared" else 2))
        elif word not in _EMPTY_WORDS:
            last = (_named(_singular(word)), sign * power)
            total = multiply(total, *last)
            power = 1
    if _OPEN.search(phrase):
        return _unreadable(phrase)
    return total if all(map(_is_dimension, total[0])) else _counting(phrase, total)


def _is_dimension(part: tuple[str, int]) -> bool:
    return part[0] in _TABLE or part[0] in _NAMED


def _counting(phrase: str, unit: Unit) -> Unit:
    """Return the unit of words that no table has: what was counted, one thing of it, or no unit at all."""
    phrase = _QUOTIENT.sub(" per ", phrase)
    kind = counted(phrase, lambda word: _singular(word) in _WORDS or _singular(word) in _NAMED)
    if kind is None and (COUNT, 1) in unit[0]:  # 18 dozen eggs
        kind = counted(_COUNTS.sub("", phrase.lower()), lambda _: False)
    if kind is None:
        return _unreadable(phrase)
    mark = _SINGULAR if kind == "one" else ""
    return tuple((name if _is_dimension((name, 1)) else name + mark, count) for name, count in unit[0]), unit[1]


def _unreadable(phrase: str) -> Unit:
    """Return a dimension of its own for words that are no unit, so that only the same words equal them."""
    return ((f"{_NO_MEASURE}{' '.join(phrase.lower().split())}", 1),), Fraction(1)


def measures(unit: Unit, *, at_most_one: bool) -> bool:
    """Whether a unit may be left out because a question names it: 18 apples, 1 way; never "18 or more"."""
    return not any(
        name.startswith(_NO_MEASURE) or (name.endswith(_SINGULAR) and not at_most_one) for name, _ in unit[0]
    )


def of_each(unit: Unit) -> Unit:
    """Return the unit behind a quotient's bar, where one thing may stand: photons/pulse."""
    return tuple((name.removesuffix(_SINGULAR), count) for name, count in unit[0]), unit[1]


def without_count(unit: Unit) -> Unit:
    """Return a unit without the words that multiply: eggs for dozen eggs."""
    return tuple(part for part in unit[0] if part[0] != COUNT), Fraction(1)


def _named(word: str) -> Unit:
    return _WORDS.get(word, (((word, 1),), Fraction(1)))


def multiply(left: Unit, right: Unit, power: int) -> Unit:
    """Return left * right**power."""
    dimensions = dict(left[0])
    for name, count in right[0]:
        dimensions[name] = dimensions.get(name, 0) + power * count
    return tuple(sorted((name, count) for name, count in dimensions.items() if count)), left[1] * right[1] ** power


def _singular(word: str) -> str:
    if word in _WORDS:
        return word
    if word.endswith("ies"):
        return word[:-3] + "y"
    if word.endswith("es") and word[:-2] in _WORDS:
        return word[:-2]
    return word[:-1] if word.endswith("s") and not word.endswith("ss") else word
