r"""Is a value concluded where it is written? Without a box only that counts as an answer.

    So there are 12 apples.                 concluded
    Suppose the answer is 12.               supposed; and so are questions, denials, guesses, plans, examples, quotes
    The answer is 12. Wait, that is wrong.  retracted
    so $a_5 = 33$. Next                     the text goes on

A sentence is judged by its words before and behind the value, never by the value. What opens as a step or a reason may
still conclude: "Let $2x = 34$, so $x = 17$".
"""

import re

from tbrm_bench.grading.find.sentences import WINDOW, boundaries, line_start, masked, sentence_start
from tbrm_bench.grading.limits import MAX_AFTER_CHARS

_CUT_CHARS = 12  # more than the longest word that a text is cut off at
_THEN = r"\b(?:so|thus|hence|therefore|consequently)\b|\\(?:implies|Rightarrow|therefore)\b|=>|[⇒∴→]"
_GET = (
    r"\b(?:then|giv(?:es|ing)|yield(?:s|ing)|(?:we|us|i|and|to) (?:get|obtain)|(?:we|us|i) (?:find|conclude|see|have)"
    r"|which (?:is|gives|equals|means)|it follows|must be|mak(?:es|ing))\b"
)
_START = r"^[\W_\d]*(?:(?:and|but|so|ok|okay|now|well|then|next|here)\b[\s,]*)*(?<!\\)"
# Words before a value, each with what behind them makes the value a conclusion all the same.
_SUPPOSED = re.compile(
    r"\b(?:suppos(?:e|ed|ing)|imagine|pretend|what if|let(?:'s| us) (?:say|try|guess|suppose|assume|test"
    r"|check|first see)"
    r"|(?:i|we|you|let me|first|by)(?:'d| would| now| first)? (?:try|tried|trying|guess(?:ed|ing)?)|(?:a"
    r"|my|our)(?: \w+)? guess|guess:"
    r"|whether|wonder(?:ing)?|hypothetical(?:ly)?|(?:under|on|by) (?:the |this |our )?(?:assumption"
    r"|hypothesis)|would imply"
    r"|were to|would be (?:nice|good|great)|hopefully|doubt|for the sake of|for (?:a )?contradiction"
    r"|for (?:the|this|our|my) answer to be|(?:wrong|incorrect|false|untrue|a mistake) (?:to|that))\b"
    r"|^\W*(?:try|trying|guess(?:ing)?)\b",
    re.IGNORECASE,
)
_IF = re.compile(
    r"^(?:\W*\w+){0,2}?\W*(?<!even )\b(?:if|unless|provided)\b(?! any\b)"
    r"|(?<!only )\b(?:if|unless|provided(?: that)?)\b(?! and only)[^,]{0,15}$",
    re.IGNORECASE,
)
_GUESSED = re.compile(
    r"\b(?:maybe|perhaps|possibly|probably|presumably|plausibl[ey]|(?:is|are) (?:most |very |quite )?likely"
    r"(?! (?:number|value|outcome))|likely (?:that|the answer)|might|may be|may well be|could(?: well)? be|unsure"
    r"|not (?:\w+ )?(?:sure|certain)|unclear|suspect|conjecture|hypothesis|first thought|at first|previously"
    r"|tempting|naive(?:ly)?|forgot(?:ten)?|overlooked|one (?:would|might|may) (?:think|expect|say|answer|guess)"
    r"|(?:wrong|incorrect|false|trap|naive) (?:answer|value|result)\b(?! of)|wrongly|incorrectly"
    r"|mistaken(?:ly)?|mistake|error"
    r"|(?:people|students?|many) (?:would|might|may|will|wrote|write|answer|say|said|think)|(?:nobody"
    r"|they|he|she) (?:said|says))\b",
    re.IGNORECASE,
)
_ASSUMED = re.compile(r"^\W*(?:(?:we|i|let us|let's|now) )*assume\b", re.IGNORECASE)
# The answer of somebody else, and of something that is denied.
_NOT_OURS = re.compile(
    r"answers?\s+(?:(?:of|from|by|given by)\s+(?:my|his|her|their|your|some|another|an?)\b"
    r"|(?:that|which|who)\b.*(?:\bnot\b|n't\b|\bfail|\bnever\b|\bcannot\b|wrong|incorrect|\bfalse\b))",
    re.IGNORECASE,
)
_EXAMPLE = re.compile(
    r"\b(?:for (?:example|instance)|as an? (?:example|illustration)|e\.g\.|such as|examples? (?:is|are"
    r"|of|with)|example:)",
    re.IGNORECASE,
)
_QUOTED = re.compile(
    r"\b(?:(?:problem|question|exercise|task|statement|puzzle|prompt)(?:'s)?(?: \w+){0,2} (?:says?|said"
    r"|states?|stated|asks?|asked|gives|gave|tells?|wants?|mentions?|reads?|claims?)"
    r"|(?:according to|in|from|by|per) the (?:problem|question|statement|exercise)\b|as given\b|(?:is"
    r"|are|was|were) (?:given(?! by)|told|asked)|the (?:problem|question|given)\s*:)",
    re.IGNORECASE,
)
_STEP = re.compile(
    _START
    + r"(?:first(?:ly)?|second(?:ly)?|initially|to (?:begin|start)|begin|start|step (?:1|one)\b|case\s+\w+|next)\b",
    re.IGNORECASE,
)
_NEXT = re.compile(r"^[\W_]*(?:next|first(?:ly)?|second(?:ly)?)\b", re.IGNORECASE)
_PLAN = re.compile(
    _START + r"(?:(?:we|i|you|one)(?: now| then| first| next| also| still| only| just)?(?:'ll| will| shall"
    r"|'d like| want| wish| aim"
    r"| plan| hope| are going| are looking| are trying| (?:need|have|must|should|can|could)(?: to| now"
    r"| first)* (?:find|show|prove"
    r"|compute|check|verify|determine|solve|evaluate|calculate|consider))"
    r"|it (?:remains|suffices)|(?:the|our|my) (?:goal|plan|aim|idea|strategy|approach|task)|goal|plan|idea"
    r"|to (?:show|prove|check|verify)|problem|question|q)\b(?!'s)",
    re.IGNORECASE,
)
_ORDER = re.compile(
    _START + r"(?:let(?:'s| us| me|ting)?|denote|define|recall|remember|note|notice|observe|consider"
    r"|given|we (?:are given|know)|to (?:find|compute|determine|solve|evaluate|count|calculate|answer|get|see)"
    r"|find|compute|determine|evaluate|calculate|show|prove|solve|verify|check|what|how|when|where|which"
    r"|why|who|does|do|did|is"
    r"|are|can|could|were|say)\b(?!'s)|(?:^|,)\W*let\b"
    r"|^\W*(?:\w+ )?(?:set(?:ting)?|put(?:ting)?|take|taking|pick|choos(?:e|ing)|substitut(?:e|ing)"
    r"|writ(?:e|ing)|fix|plug)\s+"
    r"(?:in )?(?=\$|\\\(|[a-zA-Z]\w?\s*=)",
    re.IGNORECASE,
)
_REASON = re.compile(
    r"^\W*(?:(?:since|because|where|when|whenever|while|assum(?:e|es|ing))\b"
    r"|(?:as|given|with|for|using)\b(?!(?<=for) an? (?:\w+ ){0,2}?(?:total|sum)\b)"
    r"(?!.*\b(?:is|are|gives?|yields?|get|have|equals)\b))",
    re.IGNORECASE,
)
_DENIED = re.compile(
    r"\b(?:cannot|can ?not|never|neither|nor|none|not|no longer|no way|impossible|\w+n['’]t|excludes?"  # noqa: RUF001
    r"|excluded"
    r"|rules? out|ruled out|except|other than|instead of"
    r"|nothing|nobody|no one|den(?:y|ies|ied|ying)|disagrees?|refutes?|refuted|rejects?|rejected|disproves?"
    r"|no (?:\w+ ){1,3}(?:with|for|where|when|has|have|is|exists?)|rather than|contradict(?:s|ing|ion)?"
    r"|false that|fails?)\b|\\n(?:eq?|ot)\b|≠",
    re.IGNORECASE,
)
# A bound is no value.
_BOUND = re.compile(
    r"(?:(?:greater|less|more|fewer|larger|smaller|bigger|higher|lower|other) than|at (?:most|least)"
    r"|exceeds?|different from"
    r"|bounded (?:above |below )?by|not)[\s$*(\\]*(?:[a-zA-Z]\w?\s*=\s*)?$",
    re.IGNORECASE,
)
_NOT_ONLY = re.compile(
    r"\b(?:not (?:only|just|hard|difficult)|if not|whether or not|no matter|does(?:n't| not) matter)\b"
    r"|\bnot\b[^,;.]{1,40}\bbut\b",
    re.IGNORECASE,
)
# Behind a denial: what makes it one of the subject ("the number of those not in it is"), and what makes it none.
_OF_SUBJECT = re.compile(
    r"(?!\s*(?:\w+\s+){0,3}?(?:that|think|believe|mean|true|possible|case|conclude|say|claim|follow|imply|answer)\b)"
    r".*\b(?:is|are|was|were|equals)\b",
    re.IGNORECASE | re.DOTALL,
)
_CLAUSE = re.compile(
    rf"[,;:](?:\$|\\[)\]])?\s|\s[-–—]+\s|\b(?:but|and|hence|instead|rather)\b|{_THEN}",  # noqa: RUF001
    re.IGNORECASE,
)
# These can only be the first words of a sentence.
_FIRST_WORDS = (
    *((pattern, re.compile(_THEN, re.IGNORECASE)) for pattern in (_NEXT, _PLAN)),
    (_STEP, re.compile(rf"{_THEN}|\bfinally\b", re.IGNORECASE)),
    (_ASSUMED, re.compile(rf"{_THEN}|{_GET}", re.IGNORECASE)),
)
_OPENINGS = (
    *((pattern, None) for pattern in (_SUPPOSED, _EXAMPLE)),
    *((pattern, re.compile(_THEN, re.IGNORECASE)) for pattern in (_NOT_OURS, _IF)),
    (_QUOTED, re.compile(rf"{_THEN}|,\s*our (?:\w+ )?(?:answer|solution) is\b", re.IGNORECASE)),
    (_GUESSED, re.compile(rf"\bbut\b|{_THEN}", re.IGNORECASE)),
    (_ORDER, re.compile(rf"{_THEN}|{_GET}|[,;:][^,]*\b(?:is|are|equals|add)\b", re.IGNORECASE)),
)
# Words behind a value.
_UNSAID = re.compile(
    r"^[\s$*_.,;:)\\\]–—-]*(?:(?:which|that|this|and|but|it|solution|value|answer|the answer)\s+)*"  # noqa: RUF001
    r"(?:(?:is|was|are|were|would be|can|could|does|do|did|gives?|yields?|leads? to|seems?|looks)\s?)*"
    r"(?:(?:a|an|clearly|also|of course|obviously|too)\s+)*"
    r"(?:not\b|n['’]t\b|cannot\b|never\b|contradict|impossib|absurd|wrong|incorrect|false\b|fails?\b"  # noqa: RUF001
    r"|invalid|mistake|excluded|ruled out"
    r"|(?:one|just one|only one) (?:example|possibility|candidate|option)|an? (?:example|candidate|guess"
    r"|possibility)|tempting"
    r"|unlikely|plausible|likely\b|too (?:big|large|small|high|low|many|few))",
    re.IGNORECASE,
)
_NOT_BUT_THIS = re.compile(r"^[\s$)\\\]*_]*,\s*(?:and )?not\b", re.IGNORECASE)  # "17, not 18"
_HEDGED = re.compile(
    r"\b(?:or|but|and) (?:\w+ )?(?:maybe|perhaps|possibly|probably)\b|\b(?:maybe|perhaps|possibly"
    r"|probably|i guess|i suppose|not (?:\w+ )?(?:sure|certain)|unsure|for example"
    r"|for instance|otherwise|or else|if i\b|wait\b|hmm+|oops|a contradiction)"
    r"|\b(?:a|my|just|only a|first|rough|wild) guess\b",
    re.IGNORECASE,
)
_RETRACTED = re.compile(
    r"(?:\bwait\b\s*[,.!:…–—-]|\b(?:but|oh|no),? wait\b|\bhold on\b|\bhmm+\b|\boops\b|\bnever ?mind\b"  # noqa: RUF001
    r"|\bsorry\b"
    r"|\b(?:scratch|strike|ignore|disregard|forget) that\b|\bon second thoughts?\b|\bcorrection\s*:"
    r"|\b(?:that|this|it|the above|my answer|that answer|this answer|we)(?:'s| is| was| seems| must be| looks| are)"
    r" (?:\w+ly )?(?:wrong|incorrect|mistaken|not (?:right|correct|it)|a mistake|an error)\b"
    r"|\b(?:that|my answer|that answer|this answer) (?:cannot|can't|can not) be (?:right|correct|true)\b"
    r"|\b(?:the|this|that|our|my) (?:claim|statement|conjecture|guess|assumption|hypothesis|answer|result|value)"
    r" (?:is|was|must be|turns out to be) (?:\w+ly )?(?:false|wrong|incorrect|mistaken|refuted|disproved|untrue)\b"
    r"|\bi (?:have )?(?:made|see) (?:a|an|my|the) (?:\w+ )?(?:mistake|error)|\bi was wrong\b"
    r"|\b(?:i am|i'm|we are) not (?:\w+ )?(?:sure|certain)\b|\bactually,? (?:no|that|this|it)\b"
    r"|(?:^|[.!?…]\s+|\n)no[,.!]\s|\blet(?:'s| me| us) (?:re-?(?:do|check|calculate|compute|consider"
    r"|think|examine|visit"
    r"|start)|try again|start over)|\bnot the (?:final |right |correct )?answer\b"
    r"|^[\s$*.,;!)\\\]]*(?:(?:but|however|hmm)\W+)?(?:that|this|it|which) (?:does not|doesn't|cannot"
    r"|can't|did not|didn't|is not"
    r"|is|isn't|must be) (?:\w+ly )?(?:work|fit|hold|satisfy|match|be|possible|impossible|wrong|false"
    r"|absurd|true|incorrect)\b)",
    re.IGNORECASE,
)
# ", and then we need": the value is one of several steps.
_STEPS_FOLLOW = re.compile(r"[\s$)\\\]]*,?\s*(?:and )?(?:then|next|now),? (?:we|i|you|one)\b", re.IGNORECASE)
_CUT = re.compile(
    r"(?:(?<![\\$])\b(?:and|then|so|next|thus|hence|therefore|but|or|we|the|an|to|of|which|is|are|be|now"
    r"|because|since|where"
    r"|with|for|by|from|that|if|let|also|first|finally|this|has|have|into|than|let's|plus|minus|times)"
    r"|[,:;(+=*×·])$",  # noqa: RUF001
    re.IGNORECASE,
)
_OPEN_FORMULA = re.compile(r"\$[a-zA-Z\\][^$]*$|\\[(\[][^$)\]]*$")


def is_concluded(text: str, start: int, end: int) -> bool:
    """Return whether the value at text[start:end], or announced there, is what its sentence concludes."""
    low = line_start(text, start - WINDOW)
    plain = masked(text[low : end + WINDOW])
    before = text[low + sentence_start(plain[: start - low]) : start]
    stop = next(boundaries(plain, end - low), None)
    behind = text[end : low + stop.start() if stop else end + WINDOW]
    if (stop and stop.group()[:1] in "?？") or text[end + len(behind) : end + len(behind) + 2].lstrip()[:1] == "?":  # noqa: RUF001
        return False
    return _may_follow(before) and not _takes_back(behind)


def is_retracted(later: str) -> bool:
    """Return whether the text behind takes a conclusion back."""
    return _RETRACTED.search(later[:MAX_AFTER_CHARS]) is not None


def is_cut_off(text: str) -> bool:
    """Return whether a text ends in the middle of a sentence."""
    tail = text[-WINDOW:].rstrip(" \t\n*_`")
    if _CUT.search(tail, max(0, len(tail) - _CUT_CHARS)):
        return True
    may_be_open = tail.count("$") % 2 or tail.count("\\(") + tail.count("\\[") > tail.count("\\)") + tail.count("\\]")
    return bool(may_be_open) and _OPEN_FORMULA.search(masked(tail)) is not None


def _may_follow(before: str) -> bool:
    """Return whether these words of a sentence lead to a conclusion."""
    for opening, conclusion in _FIRST_WORDS:
        first = opening.match(before)
        if first and conclusion.search(before, first.end()) is None:
            return False
    for pattern, excuse in _OPENINGS:
        for found in pattern.finditer(before):
            if excuse is None or excuse.search(before, found.end()) is None:
                return False
    clause = _clause(before)
    if _REASON.match(clause) or _BOUND.search(before):
        return False
    clause = _NOT_ONLY.sub("", clause)
    return all(_OF_SUBJECT.match(clause, found.end()) for found in _DENIED.finditer(clause))


def _clause(before: str) -> str:
    """Return the last clause; all where it only ends a verb: "cannot, by symmetry, be"."""
    start = 0
    for found in _CLAUSE.finditer(before):
        start = found.end()
    clause = before[start:]
    return before if re.fullmatch(r"\W*(?:be|equal|have)?\W*", clause) and not re.search(_THEN, before) else clause


def _takes_back(behind: str) -> bool:
    if _STEPS_FOLLOW.match(behind):
        return True
    if _HEDGED.search(behind) or _RETRACTED.search(behind):
        return True
    found = _UNSAID.match(behind)
    return found is not None and _NOT_BUT_THIS.match(behind) is None
