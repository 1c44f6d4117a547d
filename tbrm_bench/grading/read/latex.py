"""Small linear-time tools on LaTeX text: matching braces, splitting at top level, undoing typography.

`clean` takes away what changes how an answer looks and never what it means. Example:
`$\\left( 1{,}234,\\;\\dfrac12 \\right)$` becomes `(1234, \\frac12)`; `\\text{ cm}` and every bracket stay.
"""

import re
import unicodedata

from tbrm_bench.grading.read.spellings import respell

_OPENING, _CLOSING = "([{", ")]}"
_BRACES = re.compile(r"\\.|[{}]", re.DOTALL)


def match_brace(text: str, start: int) -> int | None:
    """Return the index of the `}` that closes the `{` at `start`, None if nothing closes it."""
    first = text.find("}", start)
    if first >= 0 and text.rfind("{", start, first) == start and text.find("\\", start, first) < 0:
        return first
    depth = 0
    for match in _BRACES.finditer(text, start):
        token = match.group()
        if token == "{":
            depth += 1
        elif token == "}":
            depth -= 1
            if depth == 0:
                return match.start()
    return None


def split_top_level(text: str, separators: str = ",") -> list[str]:
    """Split at the separators (single characters) outside every bracket; (0,1] counts as bracketed."""
    parts, depth, start, index = [], 0, 0, 0
    while index < len(text):
        char = text[index]
        if char == "\\":  # `\{` opens like `{`; the name of a command is never a separator
            index += 1
            char = text[index] if index < len(text) and text[index] in "{}" else ""
        if char and char in _OPENING:
            depth += 1
        elif char and char in _CLOSING:
            depth = max(0, depth - 1)
        elif char and char in separators and depth == 0:
            parts.append(text[start:index])
            start = index + 1
        index += 1
    parts.append(text[start:])
    return [part.strip() for part in parts if part.strip()]


_UNICODE = str.maketrans(
    {
        **dict.fromkeys("−–—‐‑‒﹣－", "-"),  # noqa: RUF001
        **dict.fromkeys("×✕✖⨯", r"\times "),  # noqa: RUF001
        **dict.fromkeys("·⋅∙•", r"\cdot "),
        **dict.fromkeys("÷∕⁄", "/"),  # noqa: RUF001
        **dict.fromkeys("\u00a0\u2009\u200a\u202f\u2002\u2003\u3000", " "),
        **dict.fromkeys("\u200b\u200c\u200d\ufeff\u2060\u2061\u2062", ""),
        **dict.fromkeys("‘’ʹ′", "'"),  # noqa: RUF001
        **dict.fromkeys("“”", '"'),
        "√": r"\sqrt ",
        "∛": r"\sqrt[3]",
        "∜": r"\sqrt[4]",
        "∴": " ",
        "∣": r"\mid ",  # noqa: RUF001
        "€": r"\euro ",
        "£": r"\pounds ",
        "¥": r"\yen ",
        "‰": r"\text{ per mille}",
        "⋃": r"\cup ",  # noqa: RUF001
        "⊆": r"\subseteq ",
        "\u2102": r"\mathbb{C}",
        "\u2115": r"\mathbb{N}",
        "\u211a": r"\mathbb{Q}",
        "∞": r"\infty ",
        "°": r"^\circ ",
        "º": r"^\circ ",
        "˚": r"^\circ ",
        "¢": " cents ",
        "…": r"\ldots ",
        "｛": r"\{",  # noqa: RUF001
        "｝": r"\}",  # noqa: RUF001
        "≤": r"\le ",
        "⩽": r"\le ",
        "≥": r"\ge ",
        "⩾": r"\ge ",
        "≠": r"\ne ",
        "≡": r"\equiv ",
        "≢": r"\not\equiv ",
        "≈": r"\approx ",
        "±": r"\pm ",
        "∓": r"\mp ",
        "∪": r"\cup ",  # noqa: RUF001
        "∩": r"\cap ",
        "∈": r"\in ",
        "∅": r"\emptyset ",
        "\u211d": r"\mathbb{R}",
        "\u2124": r"\mathbb{Z}",
        "⌊": r"\lfloor ",
        "⌋": r"\rfloor ",
        "⌈": r"\lceil ",
        "⌉": r"\rceil ",
        "⟨": r"\langle ",
        "⟩": r"\rangle ",
        "∠": r"\angle ",
        "∧": r"\wedge ",
        "∨": r"\vee ",  # noqa: RUF001
        "∖": r"\setminus ",  # noqa: RUF001
        "→": r"\to ",
        "，": ",",  # noqa: RUF001
        "。": ".",
        "；": ";",  # noqa: RUF001
        "：": ":",  # noqa: RUF001
        "（": "(",  # noqa: RUF001
        "）": ")",  # noqa: RUF001
        "％": "%",  # noqa: RUF001
        "＝": "=",  # noqa: RUF001
        "π": r"\pi ",
        "µ": r"\mu ",
        **{char: rf"\{name} " for char, name in zip("αβγδεζηθκλμνξρστφχψωΓΔΘΛΞΠΣΦΨΩ", (
            "alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "kappa", "lambda", "mu", "nu", "xi",
            "rho", "sigma", "tau", "phi", "chi", "psi", "omega", "Gamma", "Delta", "Theta", "Lambda", "Xi", "Pi",
            "Sigma", "Phi", "Psi", "Omega"), strict=True)},
    }
)  # fmt: skip
_SUPERSCRIPTS = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿⁱ", "0123456789+-ni", strict=True))
_SUBSCRIPTS = dict(zip("₀₁₂₃₄₅₆₇₈₉₊₋ₙ", "0123456789+-n", strict=True))
_SUPER_RUN = re.compile(f"[{''.join(_SUPERSCRIPTS)}]+")
_SUB_RUN = re.compile(f"[{''.join(_SUBSCRIPTS)}]+")
_SCRIPT_FRACTION = re.compile("([⁰¹²³⁴⁵⁶⁷⁸⁹]+)[\u2044/]([₀₁₂₃₄₅₆₇₈₉]+)")


def ascii_math(text: str) -> str:
    """Spell Unicode digits and mathematical symbols in LaTeX: `½` as `\\frac{1}{2}`, `x²` as `x^{2}`, `≤` as `\\le`."""
    if text.isascii():
        return text
    text = _SCRIPT_FRACTION.sub(lambda run: rf"\frac{{{_digits(run[1])}}}{{{_digits(run[2])}}}", text)
    text = _SUPER_RUN.sub(lambda run: "^{" + "".join(_SUPERSCRIPTS[char] for char in run.group()) + "}", text)
    text = _SUB_RUN.sub(lambda run: "_{" + "".join(_SUBSCRIPTS[char] for char in run.group()) + "}", text)
    return "".join(map(_ascii_char, text.translate(_UNICODE)))


def _ascii_char(char: str) -> str:
    if char.isascii():
        return char
    digit = unicodedata.decimal(char, None)
    if digit is not None:
        return str(digit)
    folded = unicodedata.normalize("NFKC", char)
    numerator, slash, denominator = folded.partition("\u2044")
    if slash:
        return rf"\frac{{{numerator}}}{{{denominator}}}"
    return folded if folded.isascii() else folded.translate(_UNICODE)


def _digits(run: str) -> str:
    return unicodedata.normalize("NFKC", run)


# Each with its cues, pieces of plain text of which one must occur for the pattern to be tried.
_REWRITES: tuple[tuple[tuple[str, ...], re.Pattern[str], str], ...] = tuple(
    (cues, re.compile(pattern), replacement)
    for cues, pattern, replacement in (
        (("\\\\",), r"\\\\\s*\[\s*-?[\d.]+\s*(?:pt|em|ex|mm|cm)\s*\]", r"\\\\ "),  # the height of a matrix row
        (
            ("\\text", "\\emph", "box"),
            r"\\(?:text(?:normal|rm|sf|tt|up|it|bf|sl|md|sc|n)|emph|[mh]box)(?![a-zA-Z])\*?(?=\s*\{)",
            r"\\text",
        ),
        (("box",), r"\\(?:boxed|fbox)(?=\s*\{)", ""),
        (("\\mathn",), r"\\mathnormal(?![a-zA-Z])", r"\\mathrm"),
        (("\\math",), r"\\math(?:bin|rel|op|ord)\s*\{([^\w{}\\]+)\}", r"\1"),
        (("\\math", "\\ensure"), r"\\(?:ensuremath|math(?:op|ord|bin|rel|inner))(?![a-zA-Z])", ""),
        (("\\$",), r"\\\$", r"\\dollar "),
        (("**",), r"(?<=[\w)}])\*\*(?=[\w({-])", "^"),
        (
            ("$", "\\(", "\\)", "\\[", "\\]", "style", "limits", "**"),
            r"\$|(?<!\\)\\[()\[\]]|\\displaystyle\b|\\textstyle\b|\\limits\b|\\nolimits\b|\*\*",
            " ",
        ),
        (("\\left", "\\right"), r"\\(?:left|right)\s*\.", " "),
        (
            ("\\left", "\\right", "\\big", "\\Big", "\\middle"),
            r"\\(?:left|right|bigl|bigr|Bigl|Bigr|biggl|biggr|big|Big|bigg|Bigg|middle)(?![a-zA-Z])",
            "",
        ),
        (("\\dfrac", "\\tfrac", "\\cfrac"), r"\\[dtc]frac(?![a-zA-Z])", r"\\frac"),
        (("\\dbinom", "\\tbinom"), r"\\[dt]binom(?![a-zA-Z])", r"\\binom"),
        (("{,}",), r"(?<=\d)\s*\{,\}\s*(?=\d{3}(?!\d))", ""),
        ((",\\!",), r"(?<=\d),\\!\s*(?=\d{3}(?!\d))", ""),
        (
            ("\\,", "\\!", "\\;", "\\:", "\\ ", "~"),
            r"(?<=\d)(?:(?<!\\)\\[,!;: ]|~)\s*(?=\d{3}(?!\d))",
            "",
        ),
        (
            ("\\,", "\\!", "\\;", "\\:", "\\>", "\\ ", "~", "quad", "space", "\\hfill"),
            r"(?<!\\)\\[,;:!> ]|~|\\(?:q?quad|enspace|thinspace|hfill)(?![a-zA-Z])",
            " ",
        ),
        (("\\hspace", "\\phantom"), r"\\(?:hspace\*?|phantom)\{[^{}]*\}", " "),
        (("\\%",), r"\\%", "%"),
        (("\\#", "\\&amp;"), r"\\#|\\&(?=amp;)", " "),
    )
)
_SPACES = re.compile(r"\s+")


def clean(answer: str) -> str:
    """Undo the typography of an answer: `$` signs, spacing commands, sizes of brackets, thousands marks, last stop."""
    text = ascii_math(answer)
    if "\\" in text or "$" in text or "*" in text or "~" in text or "{,}" in text:
        for cues, pattern, replacement in _REWRITES:
            for cue in cues:
                if cue in text:
                    text = pattern.sub(replacement, text)
                    break
        text = _SPACES.sub(" ", text)
    else:
        text = " ".join(text.split())
    return strip_stops(respell(text))


def strip_stops(text: str) -> str:
    """Take away spaces, the full stop, and loose commas and colons around an answer."""
    text = text.strip()
    text = text.rstrip("\\") if text.endswith("\\") else text  # a row's end, a space that lost what followed it
    text = text.strip(" ,;:")
    if text.endswith(".."):  # "2, 5, ...": a list with more to come is not the list that stops
        return text
    return text.rstrip(".").strip().strip(",;:").strip()
