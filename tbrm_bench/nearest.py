"""The nearest known name to one that is not known.

did_you_mean("grop", ["ppo", "grpo"])  ->  "did you mean 'grpo'?"
did_you_mean("x", ["ppo", "grpo"])     ->  "available: grpo, ppo"
"""

import difflib
from collections.abc import Iterable


def did_you_mean(name: str, known: Iterable[object]) -> str:
    """Return the end of an error about an unknown name: the nearest known ones, else all of them."""
    names = sorted(map(str, known))
    return nearest([(repr(other), likeness(name, other)) for other in names], names)


def nearest(scored: Iterable[tuple[str, float]], known: Iterable[str]) -> str:
    """Return the end of such an error, from names and how near each is; `known` are named where none is near."""
    best = max((score for _, score in scored), default=0.0)
    if not best:
        return f"available: {', '.join(known) or 'none'}"
    return f"did you mean {' or '.join(name for name, score in scored if score == best)}?"


def likeness(name: str, other: str) -> float:
    """Return how near two names are, 0 if they are not: `lr` is as near to learning_rate as one letter less."""
    if name == "".join(word[:1] for word in other.split("_")) and len(name) > 1:
        return 0.9
    ratio = difflib.SequenceMatcher(None, name[:100], other).ratio()
    is_part = len(name) > 2 and (name in other.split("_") or other.startswith(name))
    return max(ratio, 0.7) if is_part else ratio if ratio >= 0.6 else 0.0
