"""The names that answers are written with: functions, letters, constants, brackets; each in all its spellings."""


def words(text: str) -> frozenset[str]:
    """Return the words of a text as a set."""
    return frozenset(text.split())


_TRIGONOMETRIC = words("sin cos tan cot sec csc sinh cosh tanh coth sech csch")
# Other names of trigonometric functions, with the one that is kept.
_NAMED_OTHERWISE = {
    "tg": "tan", "ctg": "cot", "cotg": "cot", "cotan": "cot", "cosec": "csc", "cosech": "csch",
    "sh": "sinh", "ch": "cosh", "th": "tanh", "cth": "coth",
}  # fmt: skip
_TRIGONOMETRIC_NAMES = {name: name for name in _TRIGONOMETRIC} | _NAMED_OTHERWISE
# An inverse is named arcsin or asin, arcsinh, arsinh, argsinh or asinh.
_INVERSES = {
    f"{prefix}{written}": f"arc{name}"
    for written, name in _TRIGONOMETRIC_NAMES.items()
    for prefix in ("arc", "a", *(("ar", "arg") if name.endswith("h") else ()))
}
_SHORT = words("sh ch th cth")
_SHORT_INVERSES = frozenset(f"{prefix}{name}" for name in _SHORT for prefix in ("a", "ar", "arc", "arg"))
# A name as written -> the function it means.
FUNCTIONS = {
    **_INVERSES, **_TRIGONOMETRIC_NAMES,
    "max": "max", "min": "min", "ln": "ln", "exp": "exp", "cis": "cis",
    "log": "ln", "Log": "ln", "lg": "lg", "sqrt": "sqrt", "cbrt": "cbrt", "abs": "abs",
    "floor": "floor", "ceil": "ceil", "ceiling": "ceil",
    "gcd": "gcd", "lcm": "lcm", "GCD": "gcd", "LCM": "lcm", "hcf": "gcd", "HCF": "gcd",
    "sgn": "sgn", "sign": "sgn", "signum": "sgn", "Re": "re", "Im": "im", "arg": "arg", "Arg": "arg",
    "det": "det", "Gamma": "gamma", "factorial": "fact", "binomial": "binom", "nCr": "binom",
}  # fmt: skip
# Names that are words, letters or units as well, and functions only where an argument in brackets follows.
BRACKETED = _SHORT | _SHORT_INVERSES | words("Log ceiling sign signum Re Im arg Arg det Gamma factorial binomial nCr")
# Of these, in upright type or as a command, also before a letter: \\Re z.
OPERATORS = _SHORT | _SHORT_INVERSES | words("Log Re Im arg Arg det")
# The exponent -1 of these makes the inverse function.
INVERTIBLE = _TRIGONOMETRIC
NUM_ARGUMENTS = {"log": 2, "binom": 2, "mod": 2}  # of functions with one fixed number of them that is not 1
OF_SEVERAL = words("max min gcd lcm")
# Letters that are constants, also in upright type.
LETTER_CONSTANTS = {"e": "e", "i": "i", "pi": "pi"}
# Behind a number these words in \text{} are mathematics and no unit.
INNER_WORDS = (frozenset(FUNCTIONS) - {"min"} - BRACKETED) | frozenset(LETTER_CONSTANTS)
GREEK = words(
    "alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta iota kappa lambda mu nu xi rho varrho sigma tau "
    "upsilon phi varphi chi psi omega Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega"
)
SYMBOLS = GREEK | words("hbar ell partial nabla odot angle triangle star aleph mho oplus dag dagger perp parallel top")
CONSTANTS = {"pi": "pi", "uppi": "pi", "infty": "inf", "infinity": "inf", "inf": "inf", "oo": "inf", "imath": "i"} | {
    "emptyset": "empty",
    "varnothing": "empty",
}
ACCENTS = words("dot ddot bar hat tilde overline widehat overrightarrow widetilde")
# Commands that change the face of what follows and not its meaning.
TRANSPARENT = words("vec mathrm mathbf mathit text operatorname mbox boldsymbol mathcal rm bf bm mathsf underline")
CURRENCIES = words("dollar euro pounds yen")
# Opening bracket -> closing bracket and the function that the pair means.
FENCES = {"lfloor": ("rfloor", "floor"), "lceil": ("rceil", "ceil"), "lvert": ("rvert", "abs")}
ELLIPSES = words("ldots dots cdots dotsc dotsb dotsm dotso")
SETS_IN_WORDS = dict.fromkeys(("all real numbers", "all reals", "real numbers", "set of all real numbers"), "R") | {
    "empty set": "empty",
}
MATRICES = words("pmatrix bmatrix matrix vmatrix Bmatrix array smallmatrix")

RELATIONS = {
    "=": "=", "==": "=", "<": "<", ">": ">", "<=": "<=", ">=": ">=", "!=": "!=", "equiv": "=",
    "le": "<=", "leq": "<=", "leqslant": "<=", "ge": ">=", "geq": ">=", "geqslant": ">=", "lt": "<", "gt": ">",
    "ne": "!=", "neq": "!=", "in": "in", "approx": "approx", "simeq": "approx", "sim": "sim",
    "to": "to", "rightarrow": "to", "longrightarrow": "to", "->": "to", "mid": "mid", "notin": "notin",
}  # fmt: skip
SET_OPERATIONS = {"cup": "union", "cap": "inter", "setminus": "minus", "backslash": "minus"}
TIMES = words("* cdot times ast bullet")
OVER = words("/ div :")
JOINTS = ("and", "or", "", "or else")  # words between the items of a list
OR = frozenset(("or", "or else", "vee", "lor"))
JOINT_COMMANDS = words("vee lor wedge land")
# Commands that cannot begin a factor.
NO_ATOMS = frozenset(RELATIONS) | frozenset(SET_OPERATIONS) | TIMES | OVER | JOINT_COMMANDS | words(
    "pm mp rfloor rceil rvert rangle rVert mid to rightarrow Rightarrow iff implies circ degree prime over choose mod "
    "bmod pmod"
)  # fmt: skip
