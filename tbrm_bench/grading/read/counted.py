r"""Do the words behind a number say what was counted, or do they change the number, deny it or offer another one?

    18 \text{ apples}   18 \text{ ordered pairs of integers}   1 \text{ way}     counted things
    18 \text{ is not the answer}   18 \text{ or more}   18 \text{ halves}       anything else

What is counted is a noun in the plural with what describes it before and, behind a preposition, after it. No list
could name all nouns; the words that can never stand in such a phrase are few: verbs, negations, doubts, comparisons,
conditions, operations and numbers.
"""

import re
from collections.abc import Callable
from typing import Literal

from tbrm_bench.grading.read.words import NUMBER_WORDS

Counted = Literal["many", "one"]


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Words that make a phrase a sentence, a doubt, a bound, a condition or an operation.
_DENIALS = _words(
    "no not never none neither nor non nope without except excluding but wrong incorrect false untrue invalid "
    "impossible cannot contradiction"
)
_DOUBTS = _words(
    "or maybe perhaps possibly probably likely unlikely presumably alternatively else either otherwise instead "
    "rather versus vs guess think believe suppose assume say wait sorry hmm unsure unknown always sometimes yes "
    "yeah afterwards besides thanks"
)
_BOUNDS = _words(
    "than least most max min maximum minimum over under above below up down beyond almost nearly greater bigger "
    "larger smaller higher lower until upwards onwards tops exceed exceeds exceeding"
)
_CONDITIONS = _words(
    "if when whenever unless where while because since so then therefore thus hence although though however case"
)
_OPERATIONS = _words(
    "plus minus mod modulo modulus base squared cubed square cube root factorial inverse reciprocal negative "
    "negated doubled tripled halved power exponent log logarithm choose divided multiplied added subtracted "
    "infinity percent percentage fold twice thrice double triple half third quarter halves thirds fourths fifths "
    "sixths sevenths eighths ninths tenths elevenths twelfths hundredths thousandths millionths billionths "
    "trillionths dozen dozens score gross hundred hundreds thousand thousands million millions billion billions "
    "trillion trillions lakh crore mille"
) | frozenset(f"{name[:-1]}ieths" if name.endswith("y") else f"{name}ths" for name in NUMBER_WORDS)
_VERBS = _words(
    "is are was were be been being am isn aren wasn weren do does did don doesn didn has have had hasn haven hadn "
    "will would won wouldn can could couldn may might must shall should shouldn equals equal exceeds fails fail "
    "works work gives makes means seems looks appears becomes remains satisfies violates contradicts lies follows "
    "holds suffices exists divides differs excludes includes overcounts undercounts contains lacks misses that's "
    "i we you they he she there here these those which answer answers"
)
_NEVER = (
    _DENIALS
    | _DOUBTS
    | _BOUNDS
    | _CONDITIONS
    | _OPERATIONS
    | _VERBS
    | frozenset(NUMBER_WORDS)
    | {f"{name}s" for name in NUMBER_WORDS} - {"one", "ones", "zeros"}
) - _words("square cube non third quarter half answers work works lies min")
# These may describe what is counted, 18 square tiles, 18 answers, and be nothing else.
_NEVER_ALONE = _words(
    "square cube non third quarter half min work works lies prime missing lacking few many late smallest largest first "
    "last example attempt absurd unclear often etc cetera tbd"
)
_NO_THING = re.compile(
    r"(?!famil|seed|speed|bed|weed|breed|creed|fl[ey]|assembl|butterfl|monopol|anomal)[a-z]+(?:ed|ly)"
)
_PREPOSITIONS = _words(
    "of in on at for with from to between among into per by inside within who whose that during after before past "
    "each every"
)
# "of them", "in total", "per day", where the noun is left out.
_REST = re.compile(
    r"of (?:them|these|those|each|the [a-z ]*s)|in (?:total|all|sum|number|length|width|height|area|volume|size)|"
    r"(?:per|for|each|every)(?: (?!(?:some|certain|odd|even|prime|large|small|most|few|only|nonzero)\b)[a-z ]*)?"
)
_SHARE = re.compile(r"of (?:a|an|the|his|her|its|their|one) [a-z ]+")  # 3/4 of the cake
_COMPARED = _words("more fewer less additional extra")  # "18 more apples", never "18 more than"
_PEOPLE = _words("people children mice geese feet teeth dice oxen sheep deer fish aircraft species series data")
_PLURALS = _PEOPLE | _words(
    "criteria phenomena radii foci loci nuclei cacti fungi bacteria media pence cattle police staff offspring dozenal"
)
_TRAILING = _words("total left later ago remaining altogether away apart old early late overall each")
_EXPONENT = re.compile(r"\^\{?-?\d\}?|[\u00b2\u00b3]")
# "two-digit numbers": a number that describes the noun.
_COMPOUND = re.compile(
    r"\b[a-z\d]+-(?=(?:digit|side|element|letter|person|dimension|tuple|term|step|point|card|colou?r|year|day|hour)"
    r"[a-z]{0,4}\b)"
)
_ORDINALS = _words("th st nd rd")
# The 18th prime is not 18; the 18th day and the 18th term are what was asked for.
_OF_ORDER = _words("prime composite fibonacci triangular catalan harmonic power root multiple odd even")
_ANNOUNCE = _words("is are equals exactly approximately about roughly only just be")
# "one is", "the upper bound is", "it could be", "rejected:": a value, but not as the answer.
_OTHERWISE = _words(
    "one some another other others example instance candidate bound bounds guess attempt try trial check error mistake "
    "rejected discarded false wrong could might may would should used was were not first second third fourth last "
    "previous old opposite counterexample estimate"
)
_NOT_INTRODUCING = (
    _DENIALS | _DOUBTS | _BOUNDS | _CONDITIONS | _OPERATIONS | _OTHERWISE | _words("isn aren cannot can don t")
) - _words(
    "minimum maximum max min least most so therefore thus hence then since percentage percent log logarithm root cases"
) | _words("at")
_ONE_OF_SEVERAL = re.compile(
    r"\ban (?:answer|option)\b|\ba (?:possible |valid )?(?:solution|value|root)\b|\bpossible value is\b"
)
_WORD = re.compile(r"[a-z]+")
_OTHER_NUMBER = re.compile(r"(?<!case )(?<!part )(?<!problem )(?<!question )(?<!step )(?<!\d)\d")
_PLAIN = re.compile(r"[a-z\s.,'()\-/]*", re.IGNORECASE)
_REMARK = re.compile(
    r"\(?(?:correct |rounded |accurate )?to \d+ "
    r"(?:s\.?\s?f\.?|d\.?\s?p\.?|decimal places?|significant (?:figures|digits))\)?"
    r"|\(?(?:rounded )?to the nearest [a-z]+\)?"
    r"|\(mod \d+\)|(?<=[a-z] )out of (?:the |a total of )?\d+"
    r"|\((?:approximately|approx\.?|exact(?:ly)?)\)"
)


def counted(text: str, is_unit: Callable[[str], bool]) -> Counted | None:
    """Return whether words count many things or one thing; None if they do something else to the number.

    `is_unit` knows the units of measure, which need no plural.
    """
    text = _COMPOUND.sub("", _EXPONENT.sub("", _REMARK.sub(" ", text.lower())))
    if _PLAIN.fullmatch(text) is None:
        return None
    words = _WORD.findall(text)
    if any(word in _NEVER for word in words) or _is_elliptic(words):
        return None
    if words[:1] == ["and"]:  # 1 and odd primes: more than the one number
        return None
    if words[:1] and words[0] in _ORDINALS and _OF_ORDER.intersection(words):
        return None
    if not words or words[0] in _ORDINALS:
        return None if not words and text.strip() else "many"
    if words[0] in _COMPARED and len(words) > 1:
        words = words[1:]
    if "times" in words[:-1] and words[words.index("times") + 1] not in ("per", "a", "each", "in"):
        return None
    end = next((index for index, word in enumerate(words) if word in _PREPOSITIONS), len(words))
    if end == 0:
        rest = " ".join(words)
        return "many" if _REST.fullmatch(rest) else "one" if _SHARE.fullmatch(rest) else None
    heads = " ".join(words[:end]).split(" and ")
    kinds = [_kind(head.split(), is_unit) for head in heads]
    return None if None in kinds else "one" if "one" in kinds else "many"


def _is_elliptic(words: list[str]) -> bool:
    """Whether a comparison lacks what it is about: 18 more, 18 less."""
    return any(word in _COMPARED for word in words[1:]) or (len(words) == 1 and words[0] in _COMPARED)


def _kind(head: list[str], is_unit: Callable[[str], bool]) -> Counted | None:
    if not head:
        return None
    while len(head) > 1 and head[-1] in _TRAILING:
        head = head[:-1]
    noun = head[-1]
    if len(head) == 1 and (noun in _NEVER_ALONE or _NO_THING.fullmatch(noun)):
        return None
    if is_unit(noun):
        return "many"
    return "many" if _is_plural(noun) else "one"


def _is_plural(noun: str) -> bool:
    if noun in _PLURALS or noun.endswith(("men", "children", "people")):
        return True
    return len(noun) > 2 and noun.endswith("s") and not noun.endswith(("ss", "us", "is"))


def introduces(text: str) -> bool:
    """Whether words before a value only announce it: "The answer is", "exactly"; never "at least", "not equal to:"."""
    words = _WORD.findall(text.lower())
    is_label = text.rstrip().endswith((":", "=")) and bool(words) and len(words[-1]) > 2
    return bool(words) and (words[-1] in _ANNOUNCE or is_label) and not takes_back(text)


def takes_back(text: str) -> bool:
    """Whether words before a value deny it, doubt it, bound it, or give another one."""
    words = _WORD.findall(text.lower())
    return (
        any(word in _NOT_INTRODUCING for word in words)
        or _ONE_OF_SEVERAL.search(text.lower()) is not None
        or _OTHER_NUMBER.search(text.lower()) is not None
    )
