"""A merged model against the class that its config names: every name and shape, nothing missing, nothing too much."""

import re

from tbrm_bench.errors import RunFailed
from tbrm_bench.merge.model.expected import Expected

MAX_NAMED = 4
Shapes = dict[str, tuple[int, ...]]


def check_names(have: Shapes, expected: Expected, dropped: list[str]) -> list[str]:
    """Raise RunFailed, naming the tensors, if a model of the class could not be made of `have`; return warnings."""
    best = _faults(have, expected.names, expected)
    if not best or not expected.stored:
        _raise(best, dropped)
        return _in_memory_names(expected) if expected.stored else []
    stored = _faults(have, expected.stored, expected)
    _raise(min(best, stored, key=len), dropped)
    return []


def _faults(have: Shapes, names: Shapes, expected: Expected) -> list[str]:
    tied = expected.tied
    groups = {name: {name, *(alias for alias, holder in tied.items() if holder == name)} for name in tied.values()}
    groups |= {alias: groups[holder] for alias, holder in tied.items()}
    missing = [name for name in names if not have.keys() & groups.get(name, {name})]
    unexpected = [name for name in have if name not in names and not _is_ignored(name, expected)]
    shapes = [
        f"{name} is {have[name]}, the config makes it {names[name]}"
        for name in names
        if name in have and have[name] != names[name]
    ]
    doubled = [name for name, holder in tied.items() if name in have and holder in have]
    faults = []
    for what, found in (("missing", missing), ("unexpected", unexpected), ("of another shape", shapes)):
        if found:
            faults.append(f"{len(found)} {what} ({_some(found)})")
    if doubled:
        faults.append(f"{len(doubled)} doubled, which the class ties ({_some(doubled)})")
    return faults


def _is_ignored(name: str, expected: Expected) -> bool:
    return any(re.search(pattern, name) for pattern in expected.ignored)


def _some(names: list[str]) -> str:
    more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    return ", ".join(names[:MAX_NAMED]) + more


def _raise(faults: list[str], dropped: list[str]) -> None:
    if faults:
        aside = f"; dropped were {_some(dropped)}" if dropped else ""
        raise RunFailed(
            f"the checkpoint does not fit the class of its config: tensors {'; '.join(faults)}{aside}; "
            "is the config that of the trained model? (--drop NAME leaves a tensor out)"
        )


def _in_memory_names(expected: Expected) -> list[str]:
    other = next(name for name in expected.stored if name not in expected.names)
    return [
        f"the tensors are named as transformers keeps them in memory, not as on the Hub ({other}): transformers loads "
        "them, other engines may not"
    ]
