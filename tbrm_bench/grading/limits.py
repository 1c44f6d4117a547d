"""The named limits before every parser: what a model writes is hostile until measured.

An answer beyond a limit is never expanded, parsed or evaluated; it can still be right as a string. The numbers are some
ten times what the longest right answer of the six benchmarks needs.

Example: 9^{9^{9^9}} has nesting depth 3 and 8 tokens, is parsed, and is never expanded: its exponent is over
MAX_POWER_BITS.
"""

MAX_ANSWER_CHARS = 2_000  # of an extracted answer; a longer one is compared as a string only
MAX_TOKENS = 800
MAX_DEPTH = 40  # of brackets, braces and exponents
MAX_DIGITS = 1_000  # of one number as written
MAX_TREE_DEPTH = 100  # of what was read; 1/2/3/4 is three deep
MAX_POWER_BITS = 14_000  # of a number that a power or a factorial may expand to; Python prints at most 4,300 digits
MAX_FACTORIAL = 1_000
MAX_STEPS = 200_000  # of a factorial that is computed by its remainders
MAX_GAMMA = 1e7  # largest argument of a factorial that is approximated
MAX_ANGLE = 1e40  # largest argument of a trigonometric function
MAX_COMPUTED_DIGITS = 10_000  # of a number without letters that is computed to its last digit
MAX_LOG = 1e30  # natural logarithm of the largest number that is approximated
MAX_ITEMS = 64  # of a list, a set, a tuple; of the values that plus-minus signs stand for
MAX_SYMBOLS = 24  # distinct free symbols of one answer
MAX_SCAN_CHARS = 100_000  # the end of a completion that is searched for words such as "final answer is"
MAX_AFTER_CHARS = 4_000  # behind such words: their answer is there or nowhere
MAX_GAP_CHARS = 40  # between two boxes that form one list
MAX_TRIES = 300  # phrases such as "the answer" that are looked at, from the last one back
