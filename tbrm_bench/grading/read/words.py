"""Answers in words: names, choices, yes and no, numbers spelt out.

Examples: `\\text{(C)}` is the choice c, so are `C`, `C.` and `(C) 35`; `\\text{Not Possible}` and "not possible" agree;
"twelve" is 12.
"""

import re

_WRAPPER = re.compile(
    r"\\(?:text|mbox|textrm|textbf|textit|mathrm|mathbf|mathit|mathsf|operatorname|rm|bf|hbox|textsf|boldsymbol)(?![a-zA-Z])\*?"
)
# Punctuation says nothing; letters of other scripts and signs may: 不是 and ¬ are negations.
_NOISE = re.compile(r"[\s!-*,-/:-@\[-`{-~\u00a0-\u00ab\u00ad-\u00bf\u2010-\u203e\u3001-\u3011]+")
# Signs that mean something between words, and the punctuation that does not.
_SIGNS = re.compile(
    r"[\d<>=*/^|+]|(?<![A-Za-z])-|-(?![A-Za-z])|\b[A-Za-z](?:-[A-Za-z]\b|')|\b\w[(\[]|[(\[]\w\b|\b\w[)\]]"
)
_STOPS = re.compile(r"(?<!\d)[.,:]|[.,:](?!\d)|[;!?\"`](?!\d)|(?<=[A-Za-z]{2})'|,(?=\d{3}(?!\d))")
_HYPHEN = re.compile(r"(?<=[A-Za-z]{2})\s?-(?=[A-Za-z])|(?<=[A-Za-z])\s?-(?=[A-Za-z]{2})")
_BETWEEN_DIGITS = re.compile(r"(?<=\d)\s+(?=\d)")
_SIGNED_WORD = re.compile(r"[A-Za-z]+|[^\sA-Za-z]")
_ARTICLES = re.compile(r"^(?:the|an?)\s+|^(?:it\s+is|is)\s+", re.IGNORECASE)
_THERE_IS = re.compile(r"^there\s+(?:is|are)\s+", re.IGNORECASE)
_CHOSEN = r"(?:(?:[Tt]he )?(?:(?:correct|final|right) )?(?:[Oo]ption|[Cc]hoice|[Aa]nswer)\s*(?:is\b|:)?\s+)?"
_CHOICE = re.compile(
    rf"{_CHOSEN}\(?([A-Ja-j])\)?[.:]?(?: is (?:the )?(?:correct|right)(?: (?:answer|option|choice))?\.?)?"
)
_CHOICE_WITH_TEXT = re.compile(rf"{_CHOSEN}(?:\(([A-J])\)|([A-J])[).:])\s*\S.*", re.DOTALL)
_ONES = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
]
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
NUMBER_WORDS = {word: value for value, word in enumerate(_ONES)} | {
    word: 10 * value for value, word in enumerate(_TENS, start=2)
}


MAX_PHRASE_CHARS = 60
NONE = "none"
_SUBJECT = "(?:(?:limit|value|expression|function|integral|derivative|answer|it)(?:is)?)?"
# One name for phrases that say the same, as `bare` spells them: without spaces and without the s of a plural.
_PHRASES = {
    NONE: re.compile(
        "(?:(?:equation|system|it)has)?no(?:real)?(?:solution|root)(?:exist)?|(?:real)?solutiondo(?:e)?notexist|none"
        "|nosuch[a-z]{1,20}|no(?:positive)?(?:integer|number|function)(?:exist|[a-z])?"
        "|(?:the)?emptyset|varnothing"
    ),
    "undefined": re.compile(_SUBJECT + "(?:dne|doenotexist|undefined|notdefined)"),
    "infinite": re.compile("infinite(?:lymany)?(?:numberof)?(?:solution)?|infty|infinity"),
    "impossible": re.compile("impossible|notpossible"),
}
_SCALES = {"thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_OTHER_CHOICE = re.compile(
    r"(?:\b(?:or|and|is|be|answer|option|choice|not|but)\b|[,/&;|])\s*\(?[A-J]\)?(?![\w^])"  # or C, the answer is C
    r"|(?<![\w)\]}])[(\[][A-J][)\]]|(?<=\))\([A-J]\)|(?:^|\s)[A-J][.):](?=\s|$)"  # (C) 2; C. 2
    r"|(?<=[\d.])\s+[A-J]\s+-?\d"
)
_DENIED_CHOICE = re.compile(
    r"\s*(?:[,;&]?\s*(?:and|or|nor|not|but|else|otherwise|then|plus|also|versus|vs|if|unless)\b"
    r"|(?:is|was|seems|looks)\s+(?:not|wrong|incorrect|false|impossible|eliminated|ruled)\b|(?:isn't|wasn't|cannot|can't)\b"
    r"|(?:does|do|can|could|should|must)\s*n(?:o|')t\b|fails\b)",
    re.IGNORECASE,
)
_LETTER = re.compile(r"(?<!\w)\(([A-J])\)(?!\w)")  # (A) of a list of options
_JOINTS = re.compile(r"\s*(?:,|;|&|\band\b)\s*")


def plain(text: str) -> str:
    """Return the words of an answer without LaTeX around them."""
    return " ".join(_WRAPPER.sub(" ", text).replace("{", " ").replace("}", " ").replace("\\", " ").split())


def bare(text: str) -> str:
    """Return an answer in words in one spelling: no case, no spaces, no punctuation, no article.

    What is mathematics between the words stays: signs, relations, the points and spaces between digits.
    """
    words = _HYPHEN.sub("", _ARTICLES.sub("", _THERE_IS.sub("", plain(text).strip(" .,;:!"))))
    if _SIGNS.search(words) is None:
        return _NOISE.sub("", "".join(map(_singular, words.lower().split())))
    words = _BETWEEN_DIGITS.sub("_", _STOPS.sub(" ", words))
    return "".join(_singular(word.lower()) if len(word) > 1 else word for word in _SIGNED_WORD.findall(words))


def _singular(word: str) -> str:
    word = word.rstrip(".,;:!")
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word


def members(text: str) -> list[str]:
    """Return the items of a list in words, in order of the alphabet: "Ben and Ann" and "Ann, Ben" agree."""
    return sorted(filter(None, map(bare, _JOINTS.split(_LETTER.sub(r"\1", plain(text))))))


def meaning(text: str) -> str:
    """Return an answer in words as `bare` does, and phrases that say one thing by one name: DNE, "does not exist"."""
    words = bare(text)
    if len(words) > MAX_PHRASE_CHARS:
        return words
    for name, phrase in _PHRASES.items():
        if phrase.fullmatch(words):
            return name
    return words


def says_there_is_none(text: str) -> bool:
    """Whether words stand for the empty set: "no solution", "no real solutions"."""
    return meaning(text) == NONE


def choice(text: str, *, with_text: bool) -> str | None:
    """Return the letter of a choice such as (C), C or, `with_text`, "(C) 35"; None if the answer is none."""
    words = plain(text).replace("( ", "(").replace(" )", ")")
    match = _CHOICE.fullmatch(words)
    if match:
        return match[1].upper()
    match = _CHOICE_WITH_TEXT.fullmatch(words) if with_text else None
    if match is None:
        return None
    end = match.end(1 if match[1] else 2) + 1
    if _OTHER_CHOICE.search(words, end) or _DENIED_CHOICE.match(words, end):
        return None
    return match[1] or match[2]


def spelt_number(text: str) -> int | None:
    """Return the whole number that words spell, up to the trillions; None for any other words."""
    names = plain(text).lower().replace("-", " ").replace(",", " ").split()
    total, group = 0, None
    for name in names[:20]:
        if name == "and" and group is not None:
            continue
        if name == "hundred" and group:
            group *= 100
        elif name in _SCALES and group:
            total, group = total + group * _SCALES[name], 0
        elif name in NUMBER_WORDS and _fits(group, NUMBER_WORDS[name]):
            group = (group or 0) + NUMBER_WORDS[name]
        else:
            return None
    return None if group is None or len(names) > 20 else total + group


def _fits(group: int | None, value: int) -> bool:
    """Whether a number word may follow: three after twenty, twenty after two hundred; never five after five."""
    return group is None or (
        value > 0 and group % (10 if value < 10 else 100) == 0 and (value >= 10 or group % 100 != 10)
    )
