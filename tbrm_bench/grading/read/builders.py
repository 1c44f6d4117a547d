r"""Sets in words or by a form, and letters that an answer defines, read as what they stand for.

    \text{all } (a, b) \text{ with } ab \le e^3      \{(a, b) \mid ab \le e^3\}
    \{2k\pi : k \in \mathbb{Z}\}                     2k\pi, k \in \mathbb{Z}
    \text{all real numbers except } 3              \mathbb{R} \setminus \{3\}
    \lfloor\varphi n\rfloor, \text{ where } \varphi = \frac{1+\sqrt5}{2}    \lfloor(\frac{1+\sqrt5}{2}) n\rfloor

A definition is put in once; a letter that occurs in its own value, or nowhere else, defines nothing.
"""

import re

MAX_CHARS = 600
_TEXT = r"\\(?:text|mathrm)\s*"
_LETTERS = r"[a-zA-Z](?:_\{?\w\}?)?"
_LETTER = re.compile(r"\s*([a-z])\s*(?:[<>]|\\(?:in|geq?|leq?|neq?)(?![a-zA-Z]))")
_TUPLE = rf"\(\s*{_LETTERS}(?:\s*,\s*{_LETTERS})+\s*\)"
_SUCH_THAT = rf"(?::|\\mid(?![a-zA-Z])|\\colon(?![a-zA-Z])|\||{_TEXT}\{{\s*(?:such that|with|where|for which)\s*\}})"
_OF_NUMBERS = (
    r"(?:\s*\\in\s*(?:\\mathbb\s*\{?\s*[RZNQ]\s*\}?|\(\s*0\s*,\s*\\infty\s*\))"
    r"(?:\s*[\^_]\s*(?:\{[^{}]*(?:\{[^{}]*\})?[^{}]*\}|[\d+]))*)?"
)
_CONDITION = r"(?P<condition>[^{}]*(?:\{[^{}]*\}[^{}]*)*)"
_PAIRS = re.compile(rf"\\\{{\s*(?P<letters>{_TUPLE}){_OF_NUMBERS}\s*{_SUCH_THAT}\s*{_CONDITION}\\\}}")
_FORM = r"(?P<form>[^{}:|]*?(?:\{[^{}]*\}[^{}:|]*?)*?)"
_FORMS = re.compile(rf"\\\{{\s*{_FORM}\s*{_SUCH_THAT}\s*{_CONDITION}\\\}}")
_EXCEPT = re.compile(
    rf"(?:{_TEXT}\{{\s*)?all real (?:numbers|values) (?:except|other than)(?: for)?\s*\}}?\s*"
    r"(?:[a-z]\s*=\s*)?(?P<value>-?[^,{}=<>a-zA-Z]*(?:\\frac\{[^{}]*\}\{[^{}]*\})?)\}?"
)
_ALL = rf"(?:{_TEXT}\{{\s*)?all(?:\s+(?:ordered )?(?:pairs|triples))?\s*\}}?"
_ALL_PAIRS = re.compile(
    rf"{_ALL}\s*(?P<letters>{_TUPLE}){_OF_NUMBERS}\s*{_SUCH_THAT}\s*(?P<condition>.+)", re.IGNORECASE | re.DOTALL
)
_WHERE = rf"(?:,?\s*\(?\s*{_TEXT}\{{\s*,?\s*(?:where|with|for)\s*\}}|,?\s*\(?\s*(?<![a-zA-Z])where(?![a-zA-Z]))"
_DEFINED = r"(?P<letter>\\(?:var)?(?:phi|alpha|beta|tau|rho|lambda|omega)(?![a-zA-Z]))\s*=\s*(?P<meaning>[^=,<>]+?)"
_DEFINES = re.compile(r"(?:phi|alpha|beta|tau|rho|lambda|omega)\s*=")
_DEFINITION = re.compile(rf"(?P<value>.+?)\s*{_WHERE}\s*{_DEFINED}\s*\)?", re.DOTALL)
_AFTER_COMMA = re.compile(rf"(?P<value>[^=]+?)\s*,\s*{_DEFINED}", re.DOTALL)


def without_builder(text: str) -> str:
    """Return a set as it is read, the value of an answer whose letter is defined in it; else the text."""
    if len(text) > MAX_CHARS:
        return text
    if "(" in text and (found := _PAIRS.fullmatch(text) or _ALL_PAIRS.fullmatch(text)):
        return rf"\{{{found['letters']} \mid {found['condition'].strip()}\}}"
    if "\\{" in text and (found := _FORMS.fullmatch(text)) and _is_form(found["form"], found["condition"]):
        return f"{found['form']}, {found['condition']}"
    if "all real" in text[:20] and (found := _EXCEPT.fullmatch(text)) and found["value"].strip():
        return rf"\mathbb{{R}}\setminus\{{{found['value'].strip()}\}}"
    if _DEFINES.search(text) and (found := _DEFINITION.fullmatch(text) or _AFTER_COMMA.fullmatch(text)):
        letter = re.compile(re.escape(found["letter"]) + r"(?![a-zA-Z])")
        if letter.search(found["value"]) and not letter.search(found["meaning"]):
            return letter.sub(lambda _: f"({found['meaning']})", found["value"])
    return text


def _is_form(form: str, condition: str) -> bool:
    """Whether a set is given by a form, {2k : k > 0}, and not by a letter with its condition, {x : x > 0}."""
    letter = _LETTER.match(condition)
    if letter is None or form.strip() == letter[1] or "\\in" in form:
        return False
    return re.search(rf"(?<![a-zA-Z\\]){letter[1]}(?![a-zA-Z])", form) is not None
