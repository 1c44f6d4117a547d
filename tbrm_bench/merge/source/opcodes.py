"""A walk over a pickle's opcodes before it is loaded, for what the unpickler itself does not guard against.

Storing an object under memo index 4,000,000,000 takes five bytes and makes the unpickler fill tens of gigabytes. A real
pickle numbers its memo from 0, so an index beyond the pickle's own length is refused.
"""

import pickletools

_FIXED = {"uint1": 1, "uint2": 2, "int4": 4, "uint4": 4, "uint8": 8, "float8": 8}
_COUNTED = {"1": 1, "4": 4, "8": 8}  # the counter's bytes, by the digit that ends the argument's name


def _table() -> dict[int, tuple[int, int, int]]:
    """Return opcode -> (bytes of a fixed argument, bytes of a counter before a counted one, lines of a text one)."""
    table = {}
    for opcode in pickletools.opcodes:
        fixed = counter = lines = 0
        if opcode.arg is not None:
            name = opcode.arg.name
            if name in _FIXED:
                fixed = _FIXED[name]
            elif opcode.arg.n == pickletools.UP_TO_NEWLINE:
                lines = 2 if name == "stringnl_noescape_pair" else 1
            else:
                counter = _COUNTED[name[-1]]
        table[ord(opcode.code)] = (fixed, counter, lines)
    return table


_TABLE = _table()
_PUTS = {ord("q"): 1, ord("r"): 4}
_TEXT_PUT = ord("p")
_STOP = ord(".")


def check_opcodes(data: bytes) -> None:
    """Raise ValueError for an opcode that does not exist, an argument cut short, or a memo index beyond reason."""
    at, size = 0, len(data)
    while at < size:
        code = data[at]
        entry = _TABLE.get(code)
        if entry is None:
            raise ValueError(f"byte {at} is not an opcode")
        if code == _STOP:
            return
        fixed, counter, lines = entry
        start, at = at + 1, at + 1 + fixed
        if counter:
            at += counter + int.from_bytes(data[start : start + counter], "little")
        for _ in range(lines):
            at = data.find(b"\n", at) + 1
            if not at:
                raise ValueError("a text without an end")
        if code in _PUTS:
            index = int.from_bytes(data[start:at], "little")
        elif code == _TEXT_PUT:
            index = int(data[start : at - 1])
        else:
            continue
        if index > size:
            raise ValueError(f"memo index {index} in a pickle of {size} bytes")
    raise ValueError("a pickle without an end")
