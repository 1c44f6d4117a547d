"""Which of two groups of things pair off, given how each compares with each."""

from collections.abc import Sequence


def matched(table: Sequence[Sequence[bool | None]]) -> bool | None:
    """Return whether rows and columns of a square table of verdicts can be paired, each pair True.

    None where only open verdicts stand between the two.
    """
    if any(len(row) != len(table) for row in table):
        return False
    if _pairs([[cell is True for cell in row] for row in table]):
        return True
    return None if _pairs([[cell is not False for cell in row] for row in table]) else False


def _pairs(table: Sequence[Sequence[bool]]) -> bool:
    """Find partners by augmenting paths."""
    partner: dict[int, int] = {}

    def find(row: int, seen: set[int]) -> bool:
        for column, fits in enumerate(table[row]):
            if fits and column not in seen:
                seen.add(column)
                if column not in partner or find(partner[column], seen):
                    partner[column] = row
                    return True
        return False

    return all(find(row, set()) for row in range(len(table)))
