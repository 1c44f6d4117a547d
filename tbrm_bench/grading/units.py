"""Units of measure: which are the same, which convert, which contradict each other.

A unit is a product of powers of words. Known words carry a dimension and an exact factor, so that 5 m = 500 cm; an
unknown word ("apples") is its own dimension. Example: `cm^2` is ((("length", 2),), 1/10000).
"""

import re
from fractions import Fraction
from functools import lru_cache

Dimensions = tuple[tuple[str, int], ...]
Unit = tuple[Dimensions, Fraction]

NO_UNIT: Unit = ((), Fraction(1))
DEGREE: Unit = ((("angle", 1),), Fraction(1))
RADIAN: Unit = ((("radians", 1),), Fraction(1))
PERCENT: Unit = ((("percent", 1),), Fraction(1, 100))

# Words that describe and measure nothing.
_EMPTY_WORDS = frozenset(
    ["approximately", "about", "exactly", "total", "of", "the", "a", "an", "in", "is", "and", "only", "units", "unit"]
)

_TABLE: dict[str, dict[str, str]] = {
    "length": {
        "m meter metre": "1", "km kilometer kilometre": "1000", "cm centimeter centimetre": "1/100",
        "mm millimeter millimetre": "1/1000", "nm nanometer nanometre": "1/1000000000", "dm decimeter": "1/10",
        "inch inches in": "254/10000", "foot feet ft": "3048/10000", "yard yd": "9144/10000", "mile mi": "1609344/1000",
    },
    "time": {
        "s sec second": "1", "ms millisecond": "1/1000", "min minute": "60", "h hr hour": "3600", "day": "86400",
        "week": "604800",
    },
    "mass": {"kg kilogram": "1", "g gram": "1/1000", "mg milligram": "1/1000000", "ton tonne": "1000"},
    "money": {"dollar usd": "1", "cent": "1/100"},
    "euros": {"euro": "1"},
    "radians": {"rad radian": "1"},
    "angle": {"degree deg": "1", "arcminute": "1/60", "arcsecond": "1/3600"},
    "percent": {"percent": "1/100"},
    "volume": {"liter litre l": "1", "ml milliliter millilitre": "1/1000"},
    "energy": {"j joule": "1", "kj kilojoule": "1000", "ev": "1602176634/10000000000000000000000000000"},
    "force": {"n newton": "1", "kn kilonewton": "1000"},
    "power": {"w watt": "1", "kw kilowatt": "1000"},
    "pressure": {"pa pascal": "1", "kpa": "1000"},
    "frequency": {"hz hertz": "1", "khz": "1000", "mhz": "1000000"},
    "temperature": {"k kelvin": "1"}, "celsius": {"celsius": "1"}, "fahrenheit": {"fahrenheit": "1"},
    "amount": {"mol mole": "1"}, "charge": {"c coulomb": "1"}, "voltage": {"v volt": "1"},
    "resistance": {"ohm": "1"}, "current": {"amp ampere": "1"},
}  # fmt: skip
_WORDS: dict[str, tuple[str, Fraction]] = {
    word: (dimension, Fraction(factor))
    for dimension, group in _TABLE.items()
    for words, factor in group.items()
    for word in words.split()
}
_COMPOUND = {"mph": "mi per h", "kph": "km per h", "kmh": "km per h", "fps": "ft per s"}
_POWER = re.compile(r"([a-z\u00b5]+)\^?(-?\d)")
# Outside \text{} a single letter is a symbol, never a unit, and some words are functions or products of symbols.
_ALSO_SYMBOLS = frozenset(
    ["ms", "mi", "ml", "min", "in", "deg", "hr", "kn", "kw", "pa", "ft", "sec", "mg", "day", "nm", "kg"]
) - {"kg", "ft", "nm", "mg"}


def is_unit_word(word: str) -> bool:
    """Whether a bare word after a value is a unit: `5 cm`, but not `5 m`, in which m may be a symbol."""
    if len(word) > 3 and word.islower() and word not in ("sqrt", "alpha", "beta", "gamma", "theta", "delta", "lambda"):
        return word not in ("where", "otherwise")
    return len(word) > 1 and _singular(word.lower()) in _WORDS and word not in _ALSO_SYMBOLS


def names_a_unit(text: str) -> bool:
    """Whether every word of a text is a known unit, so that behind a value it can mean nothing else: m/s, min, C."""
    unit = word_unit(text)
    return bool(unit[0]) and all(name in _TABLE for name, _ in unit[0])


@lru_cache(maxsize=4096)
def word_unit(text: str) -> Unit:
    """Return the unit that words name: "square feet", "cm", "dollars", "apples"."""
    dimensions: dict[str, int] = {}
    factor, power, sign = Fraction(1), 1, 1
    if re.fullmatch(r"\s*in\.?(?:\^?-?\d)?\s*", text):
        text = text.replace("in", "inch")  # elsewhere a preposition: 5 in total
    plain = re.sub(r"(?<!\^)-", " ", text.lower().replace("/", " per ").replace(".", " "))
    for word in " ".join(_COMPOUND.get(word, word) for word in plain.split()).split():
        if match := _POWER.fullmatch(word):
            word, power = match[1], int(match[2])
        if word in ("square", "sq"):
            power = 2
        elif word in ("cubic", "cu"):
            power = 3
        elif word in ("per", "a", "each"):
            sign = -1
        elif word == "squared" and dimensions:
            dimensions[list(dimensions)[-1]] *= 2
        elif word not in _EMPTY_WORDS:
            name, size = _WORDS.get(_singular(word), (_singular(word), Fraction(1)))
            dimensions[name] = dimensions.get(name, 0) + sign * power
            factor *= size ** (sign * power)
            power = 1
    return tuple(sorted((name, power) for name, power in dimensions.items() if power)), factor


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
