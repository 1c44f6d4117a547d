r"""The words, signs and letters of a described set of numbers, one spelling each, or nothing at all.

    \text{all odd } n                        odd n
    n \equiv 3 \pmod{4}                      n == 3 mod 4
    \{2^k : k \in \mathbb{Z}_{\ge 0}\}       2 ^ k k in nonnegative
    multiples of 14, other than 0            multiples 14 , except 0

Words that say nothing of which numbers are meant are left out. A word that is not known here makes the whole text
unknown: "not prime" is not "prime".
"""

import re

from tbrm_bench.grading.read.vocabulary import words

# A word -> what it says of a number.
CONDITIONS: dict[str, tuple[tuple[str, int], ...]] = {
    "odd": (("mod 2", 1),), "even": (("mod 2", 0),), "prime": (("prime", 0),), "composite": (("composite", 0),),
    "square": (("power of", 2),), "cube": (("power of", 3),), "positive": ((">=", 1),), "nonnegative": ((">=", 0),),
    "negative": (("<=", -1),), "nonzero": (("!=", 0),), "integer": (),
}  # fmt: skip
NOUNS = frozenset(["prime", "composite", "square", "cube", "integer"])
_NO_MEANING = words(
    "the set of all every any each exactly precisely only those just value values number numbers that which are is be "
    "must an such st with where whenever when for some form its by iff solution solutions answer answers possible"
)
_SAME = {
    **dict.fromkeys(["integers", "ints"], "integer"), "naturals": "natural", "primes": "prime", "odds": "odd",
    "evens": "even", "composites": "composite", "squares": "square", "cubes": "cube", "power": "powers",
    "multiple": "multiples", "divides": "divides", "excluding": "except", "besides": "except", "apart": "except",
    "two": "2", "three": "3", "four": "4", "five": "5", "six": "6", "seven": "7", "ten": "10", "zero": "0", "one": "1",
    "forall": "for", "union": "or", "wedge": "and", "land": "and", "lor": "or", "vee": "or", "cup": "or",
}  # fmt: skip
_KNOWN = frozenset(CONDITIONS) | set(_SAME.values()) | words("multiples powers divisible and or mod dots in from to")
_BB = r"\\math(?:bb|bf)\s*\{?"
_WRAPPER = re.compile(r"\\(?:text|mbox|textrm|textbf|textit|mathrm|operatorname|rm|mathit)\s*\{([^{}]*)\}")
_REWRITES = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (rf"{_BB}Z\}}?\s*[\^_]\s*\{{?\s*(?:\+|>\s*0|\\geq?\s*1)\s*\}}?", " positive "),
        (rf"{_BB}N\}}?\s*[\^_]\s*\{{?\s*(?:\+|\*)\s*\}}?", " positive "),
        (rf"{_BB}Z\}}?\s*_\s*\{{?\s*(?:\\geq?|\\geqslant|>=)\s*0\s*\}}?", " nonnegative "),
        (rf"{_BB}N\}}?\s*_\s*\{{?\s*0\s*\}}?", " nonnegative "),
        (r"\\math(?:bb|bf)\s*\{?Z\}?\s*\\setminus\s*\\?\{\s*0\s*\\?\}", " nonzero "),
        (r"\\math(?:bb|bf)\s*\{?Z\}?", " integer "),
        (r"\\math(?:bb|bf)\s*\{?N\}?", " natural "),
        (r"\\math(?:bb|bf)\s*\{?P\}?", " prime "),
        (r"\\(?:leq?|leqslant)(?![a-zA-Z])|=<", " <= "),
        (r"\\(?:geq?|geqslant)(?![a-zA-Z])|=>", " >= "),
        (r"\\neq?(?![a-zA-Z])|\\not\s*=", " != "),
        (r"\\[lg]t(?![a-zA-Z])", lambda found: " < " if found[0] == "\\lt" else " > "),
        (r"\\equiv(?![a-zA-Z])", " == "),
        (r"\\(?:pmod|bmod|mod)(?![a-zA-Z])", " mod "),
        (r"\\setminus(?![a-zA-Z])", " except "),
        (r"\\[lc]?dots[cbmi]?(?![a-zA-Z])|\.\.\.+", " dots "),
        (r"\\(?:mid|colon)(?![a-zA-Z])", " , "),
        (r"\\(?:cdot|times)(?![a-zA-Z])", " "),
        (r"\\[ ,;:!]|\\q?quad|~", " "),
        (r"(?<!\\)\{\s*([a-z]|\d+)\s*\}", r"\1 "),
        (r"\\(?:in|cup|forall|wedge|land|lor|vee)(?![a-zA-Z])", lambda found: f" {found[0][1:]} "),
    )
)  # fmt: skip
_PHRASES = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"\bnon[- ]?negative\b", "nonnegative"),
        (r"\bnon[- ]?zero\b", "nonzero"),
        (r"\bperfect (?=square|cube)", ""),
        (r"\bnatural numbers?\b", "natural"),
        (r"\bwhole numbers?\b", "nonnegative"),
        (r"\bnumbers? of the form\b", "integers"),
        (r"\b(?:number of|at least one (?=[a-z]{2})|(?<!for )(?<!is )some )", "unclear "),
        (r"\b(?:if and only if|such that)\b", " "),
        (r"\b(?:other than|except for|apart from|but not|not including|not equal to)\b", "except"),
        (r"\bexcept\s+(?:for\s+)?n\s*=", "except"),
        (r"\b(?:greater than or equal to|at least|not less than)\b", ">="),
        (r"\b(?:greater|larger|bigger) than\b", ">"),
        (r"\b(?:less than or equal to|at most)\b", "<="),
        (r"\b(?:less|smaller) than\b", "<"),
        (r"\b(?:together with|as well as|along with)\b", "and"),
        (r"\bcongruent to\b", "=="),
        (r"\bmodulo\b", "mod"),
        (r"\bequal to\b", "="),
        (r"\bmultiples? of both\b", "multiples of"),
        (r"\b(?:positive integer|nonnegative integer|even|odd) powers?\b", "unclear"),
    )
)
_DIVIDES = re.compile(r"(\d)\s*(?:\\mid(?![a-zA-Z])|\|)\s*(?=[a-z](?![a-zA-Z]))")
_CARDINALITY = re.compile(r"\s*(?:\\left\s*)?\|")  # |Z| is no set
# "n odd: 2" is a value on a condition, not the odd n and 2.
_ON_CONDITION = re.compile(r"\b(?:odd|even|prime|composite|squares?|cubes?|mod \d+|[=<>] ?-?\d+)[\s)}]*:")
_TOKEN = re.compile(r"\d+|[a-z]+|==|!=|>=|<=|[-=<>+^,]|\S")


def tokens(text: str) -> list[str] | None:
    """Return the tokens of a cleaned answer that may describe a set of numbers; None where one is not known."""
    while (unwrapped := _WRAPPER.sub(r" \1 ", text)) != text:
        text = unwrapped
    if _CARDINALITY.match(text):
        return None
    if "\\{" not in text:  # in a set's brackets the bar means "such that"
        text = _DIVIDES.sub(r"\1 divides ", text)
    for pattern, replacement in _REWRITES:
        text = pattern.sub(replacement, text)
    text = text.replace("\\{", " ").replace("\\}", " ").lower()
    for pattern, replacement in _PHRASES:
        text = pattern.sub(replacement, text)
    if _ON_CONDITION.search(text):
        return None
    found: list[str] = []
    raw = _TOKEN.findall(re.sub(r"[():;|.]", lambda sign: " , " if sign[0] in ";:|" else " ", text))
    for token, following in zip(raw, [*raw[1:], ""], strict=False):
        if token in _NO_MEANING or (token == "a" and len(following) > 1 and following.isalpha()):
            continue
        if token == "natural":  # with 0 or without: 1 and on, as most olympiads have it
            token = "positive"
        token = _SAME.get(token, token)
        if len(token) > 1 and token.isalpha() and token not in _KNOWN:
            return None
        if not (token.isalnum() or token in ("==", "!=", ">=", "<=", "-", "=", "<", ">", "+", "^", ",")):
            return None
        if token != "for":
            found.append(token)
    return _without_builders(found)


def _without_builders(found: list[str]) -> list[str]:
    """Return "p prime" for "p, p prime", as \\{p : p \\text{ prime}\\} has it, and "m = 1" for "m 1", once "m is 1"."""
    kept: list[str] = []
    for index, token in enumerate(found):
        is_letter = len(token) == 1 and token.isalpha()
        if is_letter and (index == 0 or found[index - 1] in (",", "and", "or")):
            follows = found[index + 1] if index + 1 < len(found) else ""
            if follows == "," and found[index + 2 : index + 3] == [token]:
                found[index + 1] = ""
                continue
            kept += [token, "="] if follows.isdigit() else [token]
        elif token:
            kept.append(token)
    return kept
