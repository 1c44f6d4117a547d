"""Sources that make their rows: no download, the same rows on every machine.

arithmetic                                      the bundled task's
reasoning-gym:shortest_path                     a dataset of reasoning-gym, judged by its own scorer
reasoning-gym:shortest_path,largest_island      several, in turn
"""

GYM = "reasoning-gym:"
GYM_PREFIXES = (GYM, "reasoning_gym:")
NAMES = ("arithmetic", f"{GYM}NAME")


def gym_datasets(source: str) -> tuple[str, ...]:
    """Return reasoning-gym's datasets that a source names, none if it is another's."""
    if not source.startswith(GYM_PREFIXES):
        return ()
    return tuple(name.strip() for name in source.partition(":")[2].split(","))
