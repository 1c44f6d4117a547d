"""What stands between the items of a list: commas, semicolons, "and", "or".

Example: before the last item of `1, 2, and 3` stand a comma and a word, {"", "and"}.
"""

from tbrm_bench.grading.read.cursor import Cursor
from tbrm_bench.grading.read.vocabulary import JOINT_COMMANDS, JOINTS


def joints_at(cursor: Cursor) -> set[str]:
    """Step over what separates two items and return its words, a comma being an empty one; none where nothing does."""
    found: set[str] = set()
    while True:
        token = cursor.peek()
        if token.kind in ("NUMBER", "EOF"):
            return found
        word = token.value.strip(" ,;").lower()
        is_mark = token.kind == "OP" and token.value in (",", ";")
        is_word = token.kind in ("TEXT", "WORD") and word in JOINTS
        if not (is_mark or is_word or (token.kind == "COMMAND" and token.value in JOINT_COMMANDS)):
            return found
        cursor.next()
        found.add(word)
