"""A model's tokenizer, held against its own tokenizer.json.

transformers rebuilds a tokenizer from the class that tokenizer_config.json names and takes only the vocabulary from
tokenizer.json; for some types of model (qwen2) it takes another class than the one named. With the wrong class every
space is lost (huggingface/transformers#45488): a byte-level BPE labelled `LlamaTokenizerFast` reads "What is 3 + 4?" as
"Whatis3+4?" and writes "LetĠ$x$Ġbe". So, where there is a tokenizer.json, probe texts are encoded and decoded by both,
without special tokens. Where they differ, the plain class that takes the file as it is (`PreTrainedTokenizerFast`) is
used, with a warning. What tokenizer_config.json asks for beyond the file (a BOS, added tokens) is kept and listed.
Tokenizers without a tokenizer.json are loaded as they are.
"""

import atexit
import json
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tbrm_bench.errors import MissingExtra, UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase as Tokenizer
else:
    Tokenizer = Any

TOKENIZER_FILE = "tokenizer.json"
PLAIN_CLASS = "PreTrainedTokenizerFast"
PLAIN_NAMES = (PLAIN_CLASS, "TokenizersBackend")  # the second is transformers 5's own name for it
NUM_LISTED = 4  # of added tokens, in a warning
NUM_NEIGHBOURS = 40  # special tokens in a probe, at most
LOAD_ERRORS = (OSError, ValueError, KeyError, TypeError, AttributeError, ImportError)

PROBES = (
    "What is 3 + 4?", "a", " a", "  a", "a ", "a  b   c    d", "\n", "\n\n", "a\nb", "a\n\n b\n\n\nc", " \n \n",
    "\t", "\tif x:\n\t\ty", "a\r\nb\r\n", "a\u00a0b", "\u3000a\u2009b", " " * 17 + "x" + " " * 40 + "\n",
    "1234567890", "  12345 6 78 901", "3.14159 1,000,000 -7e-3", "x=1;y=22",
    "Let $x$ be such that \\frac{1}{2} \\le x^{2}_{i}.", "\\boxed{42}",
    "$$\\begin{aligned} a &= b \\\\ &= c \\end{aligned}$$", "$\\sqrt[3]{x}\\cdot\\left(\\dfrac{\\pi}{2}\\right)$",
    "(a) [b] {c} <d> \"e\" 'f' `g`", "It's, I'm, WE'LL; don't!", "Hello , world . How ? do n't 's",
    "#include <a.h> // b", "_a__b___ --- ... !!! ???", "CamelCase snake_case UPPER lower", "naïve café Ærø ﬁn ½ ²",
    "e\u0301 a\u0308 n\u0303", "汉字 数学 \uff0c\u3002", "二次方程の解 カタカナ", "한국어 수학", "Привет, мир",
    "مرحبا ١٢٣", "π≈3.14 ∑∫√∞ ≤≥ → \u00d7÷±", "🙂👍🏽👨\u200d👩", "a\u200bb\ufeffc", "▁a ▁ Ġb Ċ",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class LoadedTokenizer:
    """A tokenizer and its warnings; `is_auto` is False where AutoTokenizer may read the model's folder otherwise."""

    tokenizer: Tokenizer
    warnings: tuple[str, ...] = ()
    is_auto: bool = True

    def engine_dir(self) -> str | None:
        """Return a folder with this very tokenizer, for an engine that loads its own; None if the model's folder does.

        The folder lives as long as the process.
        """
        if self.is_auto:
            return None
        folder = tempfile.mkdtemp(prefix="tbench-tokenizer-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        self.tokenizer.save_pretrained(folder)
        # Without a config vLLM logs an error and waits 2 s; of this type the class that is named here is taken.
        (Path(folder) / "config.json").write_text('{"model_type": "llama"}', encoding="utf-8")
        return folder


def open_tokenizer(model_dir: Path, *, trust_remote_code: bool = False) -> LoadedTokenizer:
    """Load the tokenizer of a model's folder; nothing is fetched. Raises UserError if there is none that loads."""
    try:
        import transformers  # noqa: F401
    except ImportError:
        raise MissingExtra("transformers", "hf") from None
    file, label = _read_file(model_dir), _config(model_dir).get("tokenizer_class")
    loaded = LoadedTokenizer(_load(model_dir, PLAIN_CLASS), is_auto=False) if file and label in PLAIN_NAMES else None
    loaded = loaded or _by_class(model_dir, file, label, trust_remote_code=trust_remote_code)
    tokenizer, warnings = loaded.tokenizer, list(loaded.warnings)
    difference = _difference(tokenizer, file) if file and type(tokenizer).__name__ in PLAIN_NAMES else ""
    if difference:
        warnings.append(f"tokenizer_config.json changes what {TOKENIZER_FILE} does, and is followed: {difference}")
    # From a config.json alone transformers makes a tokenizer with an empty vocabulary, which loses every character.
    if "1" not in tokenizer.decode(tokenizer("1", add_special_tokens=False)["input_ids"]):
        raise _no_tokenizer(model_dir, "its vocabulary cannot spell 1")
    if file:
        warnings += _asked_for(tokenizer, file, model_dir)
    return LoadedTokenizer(tokenizer, tuple(warnings), loaded.is_auto and not difference)


def _by_class(model_dir: Path, file: Any, label: str | None, *, trust_remote_code: bool) -> LoadedTokenizer:
    """Load by the class that transformers chooses, or by the plain one where that one does not follow the file."""
    try:
        tokenizer = _load(model_dir, "AutoTokenizer", trust_remote_code=trust_remote_code)
    except UserError as error:
        if file is None or label is None:
            raise
        plain = _load(model_dir, PLAIN_CLASS)
        return LoadedTokenizer(
            plain, (f"{label} does not load, {PLAIN_CLASS} is used instead: {error}",), is_auto=False
        )
    difference = _difference(tokenizer, file) if file else ""
    found = type(tokenizer).__name__
    if not difference or found in PLAIN_NAMES:
        return LoadedTokenizer(tokenizer)
    warning = (
        f"the tokenizer class {found if label in (None, found) else f'{found} (tokenizer_config.json: {label})'} does "
        f"not follow {model_dir / TOKENIZER_FILE} ({difference}); {PLAIN_CLASS} is used instead"
    )
    return LoadedTokenizer(_load(model_dir, PLAIN_CLASS), (warning,), is_auto=False)


def check_engine_tokenizer(tokenizer: Tokenizer, folder: Path, *, engine: str) -> None:
    """Hold the tokenizer that an engine has loaded from `folder` against its tokenizer.json, if there is one.

    Raises UserError, naming the first text that is read or written otherwise.
    """
    file = _read_file(folder)
    if file and (difference := _difference(tokenizer, file)):
        raise UserError(
            f"{engine} reads {folder} with a tokenizer ({type(tokenizer).__name__}) that does not follow its "
            f"{TOKENIZER_FILE} ({difference}); use --engine hf, or set tokenizer_class to {PLAIN_CLASS} in "
            "tokenizer_config.json"
        )


def _no_tokenizer(model_dir: Path, reason: str) -> UserError:
    return UserError(
        f"no tokenizer can be loaded from {model_dir} ({reason}); put the base model's tokenizer files there"
    )


def _read_file(folder: Path) -> Any:
    """Return tokenizer.json as the library `tokenizers` reads it, None where there is none."""
    import tokenizers

    path = folder / TOKENIZER_FILE
    if not path.is_file():
        return None
    try:
        file = tokenizers.Tokenizer.from_file(str(path))
    except Exception as error:
        if not _is_of_files(error):
            raise
        raise _no_tokenizer(folder, f"{TOKENIZER_FILE}: {' '.join(str(error).split())[:200]}") from None
    # Settings of some training, which transformers sets anew at every call.
    file.no_truncation()
    file.no_padding()
    return file


def _load(model_dir: Path, name: str, **options: Any) -> Tokenizer:
    import transformers

    if (model_dir / TOKENIZER_FILE).is_file() and (model_dir / "tekken.json").is_file() and name == "AutoTokenizer":
        options["mistral_format"] = False  # tokenizer.json is read, whichever file lies beside it
    try:
        tokenizer = getattr(transformers, name).from_pretrained(str(model_dir), local_files_only=True, **options)
    except Exception as error:
        if not _is_of_files(error):
            raise
        raise _no_tokenizer(model_dir, " ".join(str(error).split())[:200]) from None
    # Decoding must give back every space; "is n't ." would lose some.
    tokenizer.clean_up_tokenization_spaces = False
    return tokenizer


def _config(model_dir: Path) -> dict[str, Any]:
    """Return tokenizer_config.json, {} where there is none."""
    path = model_dir / "tokenizer_config.json"
    if not path.is_file():
        return {}
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise UserError(f"{path} cannot be read as a JSON object: {error}") from None


def _difference(tokenizer: Tokenizer, file: Any) -> str:
    """Return the first probe that `tokenizer` encodes or decodes otherwise than `file`, "" if there is none."""
    seen: set[int] = set()
    for text in (*PROBES, *_neighbours(file)):
        wanted = file.encode(text, add_special_tokens=False).ids
        try:
            ids = list(tokenizer(text, add_special_tokens=False)["input_ids"])
        except Exception as error:
            if not _is_of_files(error):
                raise
            return f"{text[:30]!r} fails: {' '.join(str(error).split())[:80]}"
        if ids != wanted:
            return f"{text[:30]!r} becomes the tokens {ids[:8]}, by the file {wanted[:8]}"
        for part in (ids, *([token] for token in ids if token not in seen)):
            expected = file.decode(part, skip_special_tokens=False)
            found = tokenizer.decode(part, skip_special_tokens=False, clean_up_tokenization_spaces=False)
            if found != expected:
                return f"the tokens {part[:8]} become {found[:30]!r}, by the file {expected[:30]!r}"
        seen.update(ids)
    return ""


def _is_of_files(error: Exception) -> bool:
    """Whether an error of the libraries means that files do not fit; `tokenizers` raises bare Exceptions."""
    return type(error) is Exception or isinstance(error, LOAD_ERRORS)


def _neighbours(file: Any) -> Iterator[str]:
    """Yield texts around the file's special tokens, as chat templates write them."""
    added = file.get_added_tokens_decoder().values()
    for token in [token.content for token in added if token.special][:NUM_NEIGHBOURS]:
        yield f"a {token} b{token}c\n{token}\nd"


def _asked_for(tokenizer: Tokenizer, file: Any, model_dir: Path) -> Iterator[str]:
    """Yield where tokenizer_config.json asks for more or less than tokenizer.json gives."""
    plain, ids = file.encode("1").ids, list(tokenizer("1")["input_ids"])
    if plain != ids:
        yield (
            f"the tokenizer puts other special tokens around a text than {TOKENIZER_FILE}: '1' becomes "
            f"{tokenizer.convert_ids_to_tokens(ids)}, by the file {[file.id_to_token(token) for token in plain]}"
        )
    config = _config(model_dir)
    for key, token, place in (
        ("add_bos_token", tokenizer.bos_token_id, 0),
        ("add_eos_token", tokenizer.eos_token_id, -1),
    ):
        asked, found = config.get(key), bool(ids) and ids[place] == token
        # A template that writes its own BOS is not a contradiction, so only what is missing is of interest.
        if asked is True and token is not None and not found:
            yield f"tokenizer_config.json has {key} = true, {TOKENIZER_FILE} adds no such token; the file is followed"
    added = [token for token in tokenizer.get_added_vocab() if file.token_to_id(token) is None]
    if added:
        yield f"tokenizer_config.json adds tokens that {TOKENIZER_FILE} does not have: {_listed(added)}"
    declared = tokenizer.init_kwargs.get("added_tokens_decoder") or {}
    moved = [
        f"{token} is {found}, not {index}"
        for index, token in declared.items()
        if (found := tokenizer.convert_tokens_to_ids(str(token))) != int(index)
    ]
    if moved:
        yield f"tokenizer_config.json gives added tokens other ids than {TOKENIZER_FILE} can: {_listed(moved)}"


def _listed(names: Iterable[str]) -> str:
    items = list(names)
    more = f" and {len(items) - NUM_LISTED} more" if len(items) > NUM_LISTED else ""
    return ", ".join(items[:NUM_LISTED]) + more
