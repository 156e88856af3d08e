"""Names in a state dict, as the architecture that they are loaded into has them: wrappers, prefixes, tied weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from advisor.errors import AdvisorError
from advisor.loading.content import short

if TYPE_CHECKING:
    from torch import Tensor, nn

WRAPPERS = frozenset(
    ("module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "_forward_module", "_module")
)
"""What DataParallel, DDP, torch.compile, FSDP, activation checkpoints and Fabric put into a name, at any depth."""
LEFT_OUT = "num_batches_tracked"
"""Files of old torch have no such counters, and evaluation does not read them."""
EXTRA = "_extra_state"
"""What a module keeps beside its tensors, in a form of its own."""


def bare(name: str) -> str:
    """A name without the wrappers in it."""
    return ".".join(part for part in name.split(".") if part not in WRAPPERS)


def needed(model: nn.Module) -> list[str]:
    """Names that a state dict of the model has to hold."""
    return [name for name in model.state_dict() if not name.endswith((LEFT_OUT, EXTRA))]


def holds(weights: Mapping[str, Any], names: list[str]) -> bool:
    """Whether all names stand in the weights, wrappers aside, by themselves or after one prefix."""
    found, wanted = {bare(k) for k in weights}, [bare(n) for n in names]
    return any(all(prefix + name in found for name in wanted) for prefix in ("", *_prefixes(found, wanted)))


def by_own_names(
    weights: Mapping[str, Any], model: nn.Module, path: Path, arch: str
) -> tuple[Mapping[str, Any], tuple[str, ...]]:
    """The weights by the model's own names, as far as they can be told, and notes on what was read otherwise.

    Raises:
        AdvisorError: where the file holds all of the model's weights under several prefixes.
    """
    names = _stored_once(needed(model), model, weights)
    if all(name in weights for name in names):
        return weights, ()
    own = {bare(name): name for name in model.state_dict()}
    plain = {bare(key): value for key, value in weights.items()}
    if len(plain) < len(weights):
        return weights, ()
    wanted = [bare(name) for name in names]
    counts = {p: sum(p + name in plain for name in wanted) for p in ("", *_prefixes(plain, wanted))}
    prefix = max(counts, key=lambda p: counts[p])
    complete = [p for p in counts if counts[p] == len(wanted)]
    if prefix and len(complete) > 1:
        raise AdvisorError(
            f"{path} holds weights for --arch {arch} more than once: under {', '.join(map(repr, complete))}.",
            "Save those that you deploy as a state dict of their own.",
        )
    if counts[prefix] * 2 <= len(wanted):
        return weights, ()
    first = next(key for key in weights if bare(key).removeprefix(prefix) in own and bare(key).startswith(prefix))
    before = _before(first, prefix)
    kept = {bare(k).removeprefix(prefix): v for k, v in weights.items() if k.startswith(before)}
    return {own.get(name, name): value for name, value in kept.items()}, (_said(before, len(kept), len(weights)),)


def _before(key: str, prefix: str) -> str:
    """What a key has before the model's own name: the prefix, and the wrappers around it."""
    parts, left = key.split("."), prefix.count(".")
    count = 0
    while parts[count] in WRAPPERS or left:
        left -= parts[count] not in WRAPPERS
        count += 1
    return "".join(f"{part}." for part in parts[:count])


def _said(prefix: str, count: int, total: int) -> str:
    if prefix:
        return f"Took the weights under {prefix!r}, {count} of {total}."
    return "Took names of weights without what wrappers put into them."


def _prefixes(plain: Any, wanted: list[str]) -> list[str]:
    """What stands before the first or the last of the names, wherever one of them ends a key."""
    ends = dict.fromkeys(wanted[:1] + wanted[-1:])
    return list(dict.fromkeys(key.removesuffix(name) for name in ends for key in plain if key.endswith("." + name)))


def _stored_once(names: list[str], model: nn.Module, weights: Mapping[str, Any]) -> list[str]:
    """The names without those of tied weights that the file holds under another one."""
    keys = [bare(key) for key in weights]
    spare: set[str] = set()
    for group in tied(model):
        kept = [n for n in group if any(k == bare(n) or k.endswith("." + bare(n)) for k in keys)]
        spare.update(n for n in group if n not in kept and kept)
    return [name for name in names if name not in spare]


def tied(model: nn.Module) -> list[list[str]]:
    """Groups of names under which the model holds one weight."""
    from torch import Tensor
    from torch.nn.parameter import is_lazy

    groups: dict[tuple[Any, ...], list[str]] = {}
    for name, value in model.state_dict().items():
        if isinstance(value, Tensor) and not is_lazy(value) and value.numel():
            place = (value.data_ptr(), tuple(value.shape), value.stride(), value.dtype)
            groups.setdefault(place, []).append(name)
    return [names for names in groups.values() if len(names) > 1]


def with_tied(weights: Mapping[str, Tensor], model: nn.Module, path: Path, arch: str) -> Mapping[str, Tensor]:
    """With every name of a weight that the model holds under several: safetensors stores it under one.

    Raises:
        AdvisorError: where the file holds different values under names that the model ties: one would be lost.
    """
    import torch

    more = dict(weights)
    for group in tied(model):
        kept = [name for name in group if name in weights]
        if not kept:
            continue
        for name in kept[1:]:
            if not torch.equal(weights[name], weights[kept[0]]):
                raise AdvisorError(
                    f"{short(kept[0], 60)} and {short(name, 60)} are one weight in --arch {arch} and two in {path}.",
                    "Name an architecture that does not tie them.",
                )
        more |= dict.fromkeys(group, weights[kept[0]])
    return more
