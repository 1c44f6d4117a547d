"""Element types and the casts between them, with numpy alone.

numpy has no bfloat16, so its values travel as the 16 bits that they are. float32 -> bfloat16 rounds to nearest, ties to
even, as torch and the hardware do: add 0x7fff plus the lowest kept bit, keep the upper half.

    0x3f808000 (1.00390625) lies between bfloat16's 0x3f80 and 0x3f81, exactly in the middle: the even 0x3f80 it is

Sign aside, the bits of floats order like integers and the largest finite one is just below infinity, so one maximum
over a chunk tells at once whether a NaN or an infinity is in it.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tbrm_bench.errors import RunFailed, UserError
from tbrm_bench.weights import dtype_name

Bits = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class DType:
    """An element type: its name in safetensors and in torch, the numpy type that holds its bits.

    `infinity` is the bit pattern of +inf: 0 for integers, and for the small floats that are only ever copied.
    """

    name: str
    torch: str
    bits: str
    infinity: int = 0

    @property
    def itemsize(self) -> int:
        """Bytes per element."""
        return np.dtype(self.bits).itemsize

    @property
    def is_float(self) -> bool:
        """Whether it can be cast to another float type and looked through for NaN."""
        return self.infinity != 0

    def __setstate__(self, state: object) -> None:
        raise TypeError("an element type has no state")  # a hostile pickle may try to give it one


_ALL = (
    DType("F64", "float64", "<u8", 0x7FF0_0000_0000_0000),
    DType("F32", "float32", "<u4", 0x7F80_0000),
    DType("F16", "float16", "<u2", 0x7C00),
    DType("BF16", "bfloat16", "<u2", 0x7F80),
    DType("I64", "int64", "<i8"),
    DType("I32", "int32", "<i4"),
    DType("I16", "int16", "<i2"),
    DType("I8", "int8", "<i1"),
    DType("U64", "uint64", "<u8"),
    DType("U32", "uint32", "<u4"),
    DType("U16", "uint16", "<u2"),
    DType("U8", "uint8", "<u1"),
    DType("BOOL", "bool", "<u1"),
    DType("F8_E4M3", "float8_e4m3fn", "<u1"),
    DType("F8_E5M2", "float8_e5m2", "<u1"),
)
BY_NAME = {dtype.name: dtype for dtype in _ALL}
BY_TORCH = {dtype.torch: dtype for dtype in _ALL}
# The classes of the storages that torch.save names in a tensor's persistent id.
BY_STORAGE = {
    "DoubleStorage": BY_NAME["F64"],
    "FloatStorage": BY_NAME["F32"],
    "HalfStorage": BY_NAME["F16"],
    "BFloat16Storage": BY_NAME["BF16"],
    "LongStorage": BY_NAME["I64"],
    "IntStorage": BY_NAME["I32"],
    "ShortStorage": BY_NAME["I16"],
    "CharStorage": BY_NAME["I8"],
    "ByteStorage": BY_NAME["U8"],
    "BoolStorage": BY_NAME["BOOL"],
    "UntypedStorage": BY_NAME["U8"],
}
F32 = BY_NAME["F32"]
TARGETS = {"float32": "F32", "bfloat16": "BF16", "float16": "F16"}


def parse_dtype(text: str | None) -> DType | None:
    """Return the float type that `text` names, None for None (as stored); raises UserError for any other."""
    if text is None:
        return None
    name = TARGETS.get(dtype_name(text))
    if name is None:
        raise UserError(f"dtype {text!r} is not one of float32, bfloat16, float16; leave it out to keep the stored one")
    return BY_NAME[name]


def target_dtype(stored: DType, wanted: DType | None) -> DType:
    """Return the type that a tensor is written in: integers, booleans and 8-bit floats stay what they are."""
    return wanted if wanted is not None and stored.is_float else stored


def cast(bits: Bits, stored: DType, wanted: DType) -> Bits:
    """Return the bits of the same numbers in another type, rounded to nearest even; a NaN in, anything out.

    Raises RunFailed if a finite number does not fit. (N,) -> (N,)
    """
    if stored is wanted:
        return bits
    numbers = to_float(bits, stored)
    if wanted.name == "BF16":
        return _round_to_bf16(numbers.view("<u4"))
    with np.errstate(over="ignore"):
        return numbers.astype({"F32": "<f4", "F16": "<f2"}[wanted.name], copy=False).view(wanted.bits)


def to_float(bits: Bits, stored: DType) -> npt.NDArray[np.float32]:
    """Return the numbers as float32; only float64 is rounded. (N,) -> (N,)"""
    if stored.name == "BF16":
        wide = bits.astype("<u4")
        np.left_shift(wide, 16, out=wide)
        return wide.view("<f4")
    with np.errstate(over="ignore"):
        return bits.view({"F64": "<f8", "F32": "<f4", "F16": "<f2"}[stored.name]).astype("<f4", copy=False)


def _round_to_bf16(bits: Bits) -> Bits:
    rounded = np.right_shift(bits, 16)
    np.bitwise_and(rounded, 1, out=rounded)
    np.add(rounded, 0x7FFF, out=rounded)
    np.add(rounded, bits, out=rounded)
    np.right_shift(rounded, 16, out=rounded)
    return rounded.astype("<u2")


def magnitude(bits: Bits, dtype: DType) -> int:
    """Return the largest bit pattern with the signs off: above `dtype.infinity` there is a NaN, at it an infinity."""
    if not bits.size:
        return 0
    return int(np.bitwise_and(bits, bits.dtype.type(2 ** (8 * dtype.itemsize - 1) - 1)).max())


def check_numbers(before: Bits, stored: DType, after: Bits, written: DType, name: str) -> None:
    """Raise RunFailed if a chunk holds a NaN, or if the cast made an infinity of a finite number."""
    if not stored.is_float:
        return
    largest = magnitude(before, stored)
    if largest > stored.infinity:
        raise RunFailed(f"tensor {name} holds NaN: the training run had diverged; merge an earlier step")
    if stored is not written and largest < stored.infinity and magnitude(after, written) >= written.infinity:
        raise RunFailed(f"tensor {name} holds numbers beyond {written.torch}'s range; use --dtype bfloat16 or float32")
