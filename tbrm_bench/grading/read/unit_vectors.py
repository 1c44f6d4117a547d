r"""Unit vectors in all their faces, as \hat{i}, \hat{j}, \hat{k}.

    3\mathbf{i} - \vec{\jmath} + \hat{\mathbf{k}}      3\hat{i} - \hat{j} + \hat{k}

A lone \vec{k} may be any vector, and \mathbf{i} the imaginary unit; with a hat, or beside another of them, it is one.
"""

import re

_FACE = r"\\(?:mathbf|boldsymbol|bm|vec|overrightarrow|textbf|bf|hat|widehat|mathrm|mathit)(?![a-zA-Z])"
_LETTER = r"(?P<letter>\\imath|\\jmath|\\hat\{[ijk]\}|[ijk](?![a-zA-Z]))"
_BRACED = re.compile(rf"{_FACE}\s*\{{\s*{_LETTER}\s*\}}")
_BARE = re.compile(rf"{_FACE}\s*{_LETTER}")
_UNIT = re.compile(r"\\hat\{([ijk])\}")
MAX_FACES = 3  # one in another


def respelt(text: str) -> str:
    r"""Return a text with its unit vectors as \hat{i}, \hat{j}, \hat{k}; as it is if it has none."""
    found = text
    for _ in range(MAX_FACES):
        found = _BARE.sub(_hatted, _BRACED.sub(_hatted, found))
    units = set(_UNIT.findall(found))
    return found if len(units) > 1 or (units and "hat" in text) else text


def _hatted(match: "re.Match[str]") -> str:
    letter = match["letter"].strip("\\").removeprefix("hat").strip("{}")[0]
    return rf"\hat{{{letter}}}"
