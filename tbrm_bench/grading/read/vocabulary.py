"""The names that answers are written with: functions, letters, constants, brackets; each in all its spellings."""


def words(text: str) -> frozenset[str]:
    """Return the words of a text as a set."""
    return frozenset(text.split())


# A name as written -> the function it means.
FUNCTIONS = {
    **{name: name for name in words("sin cos tan cot sec csc arcsin arccos arctan arccot sinh cosh tanh ln exp")},
    "max": "max", "min": "min",
    "asin": "arcsin", "acos": "arccos", "atan": "arctan", "arctg": "arctan", "tg": "tan", "ctg": "cot", "cosec": "csc",
    "log": "ln", "lg": "lg", "sqrt": "sqrt", "abs": "abs", "floor": "floor", "ceil": "ceil", "gcd": "gcd", "lcm": "lcm",
    "cis": "cis",
}  # fmt: skip
# Behind a number these words in \text{} are mathematics and no unit.
INNER_WORDS = (frozenset(FUNCTIONS) - {"min"}) | {"i"}
GREEK = words(
    "alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta iota kappa lambda mu nu xi rho varrho sigma tau "
    "upsilon phi varphi chi psi omega Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega"
)
SYMBOLS = GREEK | words("hbar ell partial nabla odot angle triangle star aleph mho oplus dag dagger perp parallel top")
CONSTANTS = {"pi": "pi", "infty": "inf", "infinity": "inf", "inf": "inf", "oo": "inf", "imath": "i"} | {
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
JOINT_COMMANDS = words("vee lor wedge land")
# Commands that cannot begin a factor.
NO_ATOMS = frozenset(RELATIONS) | frozenset(SET_OPERATIONS) | TIMES | OVER | JOINT_COMMANDS | words(
    "pm mp rfloor rceil rvert rangle rVert mid to rightarrow Rightarrow iff implies circ degree prime over choose mod "
    "bmod pmod"
)  # fmt: skip
