"""Tied weights: stored once, under the embedding's name, exactly where the model's class ties them.

What ties is said by the config (`tie_word_embeddings`) or, where that is silent, by the model's class. That two tensors
hold equal values says nothing: it is only demanded of a head that is left out.
"""

from tbrm_bench.errors import UserError
from tbrm_bench.merge.pieces.stream import hash_tensor, output_tensor
from tbrm_bench.merge.pieces.tiling import Loaded, Parts

HEADS = ("lm_head.weight", "embed_out.weight", "output.weight")
EMBEDDINGS = ("embed_tokens.weight", "wte.weight", "embed_in.weight", "word_embeddings.weight", "tok_embeddings.weight")


def resolve_ties(loaded: Loaded, ties: bool | None, tied: dict[str, str]) -> list[tuple[str, str]]:
    """Leave tied names out of `loaded.tensors`, give shared but untied ones a copy; return the pairs left out.

    `tied` is what the class ties, where it was asked. Raises UserError if a head that the config ties has values of
    its own.
    """
    pairs = (tied_by_name(loaded) if ties else {}) | tied
    left_out = []
    for alias, name in pairs.items():
        if alias in loaded.tensors and name in loaded.tensors:
            if not is_same(loaded.tensors[alias], loaded.tensors[name]):
                raise UserError(
                    f"the config ties {alias} to {name}, but the checkpoint holds different values for them; set "
                    '"tie_word_embeddings": false in its config.json to keep both'
                )
            del loaded.tensors[alias]
            left_out.append((alias, name))
        elif alias in loaded.tensors:
            loaded.tensors[name] = loaded.tensors.pop(alias)
            left_out.append((alias, name))
        elif name in loaded.tensors:
            left_out.append((alias, name))
    for alias, name in loaded.shared.items():
        if alias not in pairs and alias not in loaded.tensors and name in loaded.tensors:
            loaded.tensors[alias] = loaded.tensors[name]
    return left_out


def tied_by_name(loaded: Loaded) -> dict[str, str]:
    """Return head -> embedding, as their names tell it; empty where not exactly one of each is there."""
    names = {*loaded.tensors, *loaded.shared}
    heads = [name for name in names if name.endswith(HEADS) and name.count(".") <= 2]
    embeddings = [name for name in names if name.endswith(EMBEDDINGS)]
    return {heads[0]: embeddings[0]} if len(heads) == len(embeddings) == 1 else {}


def is_same(a: Parts, b: Parts) -> bool:
    """Whether two tensors hold the same values; they are read, unless they are the same bytes of the same file."""
    if a.region == b.region:
        return True
    if (a.shape, a.dtype) != (b.shape, b.dtype):
        return False
    return hash_tensor(output_tensor("", a, a.dtype)) == hash_tensor(output_tensor("", b, b.dtype))
