"""State dicts: finding one in a checkpoint, matching it to an architecture, checking its numbers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from advisor.errors import AdvisorError
from advisor.loading.architectures import ARGUMENTS
from advisor.loading.content import short

if TYPE_CHECKING:
    from torch import Tensor, nn

CHECKPOINT_KEYS = ("state_dict", "model_state_dict", "model", "net", "network", "module", "weights", "params", "ema",
                   "model_ema", "ema_model", "state_dict_ema", "ema_state_dict", "params_ema")  # fmt: skip
"""Where checkpoints keep the weights; the first that is there is taken."""
AVERAGED = ("ema", "model_ema", "ema_model")
LEVELS = 3
SAVE = "Save model.state_dict() or torch.export.save(...)."


def taken(held: Any, path: Path) -> tuple[Any, tuple[str, ...]]:
    """The module or the state dict in what a file held, and notes on what was taken.

    Raises:
        AdvisorError: when there is none, or several and none of a usual name; the keys are listed.
    """
    from torch import nn

    notes: list[str] = []
    for _ in range(LEVELS):
        if isinstance(held, nn.Module):
            return held, tuple(notes)
        if not isinstance(held, Mapping):
            break
        inside = {k: v for k, v in held.items() if isinstance(k, str) and (isinstance(v, nn.Module) or _tensors(v))}
        own = _tensors(held)
        key = _clearest(inside) if inside and all(_size(v) > len(own) for v in inside.values()) else None
        if key is not None:
            others = ", ".join(repr(short(k, 40)) for k in list(inside)[:6] if k != key)
            notes.append(f"Took {short(key, 40)!r} from the checkpoint{f'; it also holds {others}' if others else ''}.")
            held = inside[key]
        elif own:
            return own, tuple(notes)
        else:
            break
    raise AdvisorError(f"{path} holds no weights but {_told(held)}.", SAVE)


def _clearest(inside: Mapping[str, Any]) -> str | None:
    """The key to take: the only one, the averaged twin of a module, or the first of a usual name."""
    from torch import nn

    modules = [k for k in inside if isinstance(inside[k], nn.Module)]
    averaged = [k for k in AVERAGED if k in modules]
    twins = {tuple((n, tuple(p.shape)) for n, p in inside[k].state_dict().items()) for k in modules}
    if averaged and len(twins) == 1:
        return averaged[0]
    usual = [k for k in CHECKPOINT_KEYS if k in inside]
    return next(iter(inside)) if len(inside) == 1 else next(iter(usual), None)


def _tensors(value: Any) -> dict[str, Tensor]:
    """The tensors of a mapping by name: a state dict, once what is no tensor is left out."""
    import torch

    if not isinstance(value, Mapping):
        return {}
    return {k: v for k, v in value.items() if isinstance(k, str) and isinstance(v, torch.Tensor)}


def _size(value: Any) -> int:
    return len(value) if isinstance(value, Mapping) else len(value.state_dict()) + 1


def _told(held: Any) -> str:
    if not isinstance(held, Mapping):
        return f"a {type(held).__name__}"
    keys = [f"{short(k, 30)!r} ({type(v).__name__})" for k, v in list(held.items())[:8]]
    return f"a {type(held).__name__} of {len(held)} keys: {', '.join(keys)}{', …' if len(held) > 8 else ''}"


def load_into(model: nn.Module, weights: Mapping[str, Tensor], path: Path, arch: str) -> tuple[str, ...]:
    """Put the weights into the model, all of its own and no unknown ones; gives notes on what was taken.

    What a wrapper put before all of the model's names ("module.", "_orig_mod.", Lightning's "model.") is taken off, and
    what stands beside them is left.

    Raises:
        AdvisorError: when names or shapes differ; up to three of each are listed.
    """
    own = model.state_dict()
    needed = [k for k in own if not k.endswith("num_batches_tracked")]
    weights, notes = _unwrapped(weights, needed, path, arch)
    weights = _tied(weights, model)
    missing = [k for k in needed if k not in weights]
    foreign = [k for k in weights if k not in own]
    other = [
        f"{short(k, 60)} {tuple(weights[k].shape)} instead of {tuple(own[k].shape)}"
        for k in own
        if k in weights and weights[k].shape != own[k].shape
    ]
    faults = [
        f"{len(keys)} {what} ({', '.join(short(key, 100) for key in keys[:3])}{', …' if len(keys) > 3 else ''})"
        for what, keys in (("missing", missing), ("unknown", foreign), ("of another shape", other))
        if keys
    ]
    if faults:
        raise AdvisorError(
            f"The weights in {path} do not fit --arch {arch}: {'; '.join(faults)}.",
            "Name the architecture they were saved from."
            if missing or foreign
            else f"Give its arguments: {ARGUMENTS}.",
        )
    model.load_state_dict(weights, strict=False)
    return notes


def _unwrapped(
    weights: Mapping[str, Tensor], names: list[str], path: Path, arch: str
) -> tuple[Mapping[str, Tensor], tuple[str, ...]]:
    """Weights by the model's own names, where they all stand after one prefix, and a note that says so."""
    if not names or names[0] in weights:
        return weights, ()
    prefixes = [key.removesuffix(names[0]) for key in weights if key.endswith("." + names[0])]
    fitting = [prefix for prefix in prefixes if all(prefix + name in weights for name in names)]
    if not fitting:
        return weights, ()
    if len(fitting) > 1:
        raise AdvisorError(
            f"{path} holds weights for --arch {arch} more than once: under {', '.join(map(repr, fitting))}.",
            "Save those that you deploy as a state dict of their own.",
        )
    prefix = fitting[0]
    inside = {key.removeprefix(prefix): value for key, value in weights.items() if key.startswith(prefix)}
    return inside, (f"Took the weights under {prefix!r}, {len(inside)} of {len(weights)}.",)


def _tied(weights: Mapping[str, Tensor], model: nn.Module) -> Mapping[str, Tensor]:
    """With every name of a weight that the model itself holds under several: safetensors stores it under one."""
    groups: dict[tuple[Any, ...], list[str]] = {}
    for name, value in model.state_dict().items():
        if value.numel():
            place = (value.data_ptr(), tuple(value.shape), value.stride(), value.dtype)
            groups.setdefault(place, []).append(name)
    aliases = {n: k for names in groups.values() for k in names if k in weights for n in names if n not in weights}
    return {**weights, **{name: weights[kept] for name, kept in aliases.items()}}


def check_finite(named: Mapping[str, Any], what: str) -> None:
    """Refuse weights with NaN or infinity; an infinite buffer is allowed, since attention masks hold them.

    Raises:
        AdvisorError: naming the first such tensor.
    """
    import torch

    for name, value in named.items():
        if (
            not isinstance(value, torch.Tensor)
            or not (value.is_floating_point() or value.is_complex())
            or value.is_meta
        ):
            continue
        mask = not isinstance(value, torch.nn.Parameter) and not name.endswith(
            ("running_mean", "running_var", "weight", "bias")
        )
        value = value.float() if value.is_floating_point() and value.itemsize == 1 else value  # float8 knows no isnan
        bad = torch.isnan(value) if mask else ~torch.isfinite(value)
        if bool(bad.any()):
            raise AdvisorError(
                f"The weight {short(name)!r} of {what} holds NaN or infinity "
                f"({int(bad.sum())} of {value.numel()} values).",
                "The training diverged or the file is damaged; take an earlier checkpoint.",
            )
