"""Multiply-adds of torch.einsum: two operands at a time, each pair over all indices that meet."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

Shape = tuple[int, ...]


def einsum(equation: str, shapes: Sequence[Shape], path: Sequence[int] = ()) -> float:
    """Multiply-adds in the order that was exported, else from the left, as torch contracts.

    An index that only one operand has, and that nothing later reads, is summed before: no product needs it.

    Args:
        equation: as torch.einsum takes it, with or without the result.
        shapes: of the operands.
        path: pairs of positions, one after the other.
    """
    given, arrow, wanted = equation.replace(" ", "").partition("->")
    terms = [_spread(term, len(shape)) for term, shape in zip(given.split(","), shapes, strict=True)]
    longest = max(term.count("^") for term in terms)
    named = [_named(term, longest) for term in terms]
    pairs = sorted(
        (size, i) for names, shape in zip(named, shapes, strict=True) for i, size in zip(names, shape, strict=True)
    )
    sizes = {i: size for size, i in pairs}  # the larger size wins: 1 is broadcast
    if arrow:
        result = set(_named(_spread(wanted, longest + len(wanted.replace("...", ""))), longest))
    else:
        result = {i for i in sizes if i[0] == "^" or sum(term.count(i) for term in terms) == 1}
    return _contracted([set(names) for names in named], sizes, result, list(path))


def _spread(term: str, rank: int) -> str:
    """The dimensions of an ellipsis written out."""
    return term.replace("...", "^" * (rank - len(term.replace("...", ""))))


def _named(term: str, longest: int) -> list[str]:
    """The index of each dimension; those of an ellipsis are numbered from the right."""
    found, number = [], longest - term.count("^")
    for letter in term:
        found.append(f"^{number}" if letter == "^" else letter)
        number += letter == "^"
    return found


def _contracted(sets: list[set[str]], sizes: Mapping[str, int], result: set[str], path: list[int]) -> float:
    total = 0.0
    while len(sets) > 1:
        first, second = sorted((path.pop(0), path.pop(0)) if path else (0, 1))
        right, left = sets.pop(second), sets.pop(first)
        later = result.union(*sets)
        meeting = {i for i in left | right if i in later or i in left & right}
        total += math.prod(sizes[i] for i in meeting)
        sets.append(meeting & later)
    return total
