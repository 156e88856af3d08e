"""State dicts: finding one in a checkpoint, matching it to an architecture, checking its numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from advisor.errors import AdvisorError
from advisor.loading.content import short
from advisor.loading.factories import ARGUMENTS
from advisor.loading.weight_names import EXTRA, LEFT_OUT, by_own_names, holds, with_tied

if TYPE_CHECKING:
    from torch import Tensor, nn

CHECKPOINT_KEYS = ("state_dict", "model_state_dict", "model", "net", "network", "module", "weights", "params", "ema",
                   "model_ema", "ema_model", "state_dict_ema", "ema_state_dict", "params_ema")  # fmt: skip
"""Where checkpoints keep the weights; the first that is there is taken."""
AVERAGED = ("ema", "model_ema", "ema_model", "state_dict_ema", "ema_state_dict", "params_ema", "swa", "swa_model",
            "averaged_model")  # fmt: skip
LEVELS = 4
SAVE = "Save model.state_dict() or torch.export.save(...)."


def taken(held: Any, path: Path, names: Callable[[], list[str]] = list) -> tuple[Any, tuple[str, ...]]:
    """The module or the state dict in what a file held, and notes on what was taken.

    Args:
        names: the names of the architecture's weights, asked where several sets of weights are there and none of a
            usual name: the only one that has them is taken.

    Raises:
        AdvisorError: when there is none, or several that may be meant; the keys are listed.
    """
    from torch import nn

    notes: list[str] = []
    for _ in range(LEVELS + 1):
        if isinstance(held, nn.Module):
            return held, tuple(notes)
        if not isinstance(held, Mapping):
            break
        own, named = _tensors(held), {k: v for k, v in held.items() if isinstance(k, str)}
        inside = {k: v for k, v in named.items() if _size(v, levels=1)}
        if not inside and not own:
            inside = {k: v for k, v in named.items() if _size(v)}
        key = None
        if inside and all(_size(v) > len(own) for v in inside.values()):
            key = _clearest(inside) or _only_fitting(inside, names)
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
    """The key to take: the only one, the average of the others that are like it, or the first of a usual name."""
    from torch import nn

    alike = {k: _outline(v) for k, v in inside.items() if isinstance(v, nn.Module)} or {
        k: _outline(v) for k, v in inside.items() if k in (*CHECKPOINT_KEYS, *AVERAGED)
    }
    averaged = [k for k in AVERAGED if k in alike]
    if averaged and len(set(alike.values())) == 1:
        return averaged[0]
    usual = [k for k in CHECKPOINT_KEYS if k in inside]
    return next(iter(inside)) if len(inside) == 1 else next(iter(usual), None)


def _outline(value: Any) -> frozenset[tuple[str, tuple[int, ...]]]:
    """Names and shapes of weights, of an average (`torch.optim.swa_utils.AveragedModel`) those of what it averages."""
    from torch import nn

    held = _tensors(value.state_dict() if isinstance(value, nn.Module) else value)
    return frozenset((k.removeprefix("module."), tuple(v.shape)) for k, v in held.items() if k != "n_averaged")


def _only_fitting(inside: Mapping[str, Any], names: Callable[[], list[str]]) -> str | None:
    """The only key whose weights have the architecture's names."""
    wanted = names()
    fitting = [key for key, value in inside.items() if wanted and holds(_tensors(value), wanted)]
    return fitting[0] if len(fitting) == 1 else None


def _tensors(value: Any) -> dict[str, Tensor]:
    """The tensors of a mapping by name: a state dict, once what is no tensor is left out."""
    import torch

    if not isinstance(value, Mapping):
        return {}
    return {k: v for k, v in value.items() if isinstance(k, str) and isinstance(v, torch.Tensor)}


def _size(value: Any, levels: int = LEVELS) -> int:
    """How many tensors a module or a mapping holds, those of the mappings in it counted: 0 where it holds none."""
    from torch import nn

    if isinstance(value, nn.Module):
        return len(value.state_dict()) + 1
    if not isinstance(value, Mapping) or not levels:
        return 0
    return len(_tensors(value)) + sum(_size(v, levels - 1) for k, v in value.items() if isinstance(k, str))


def _told(held: Any) -> str:
    if not isinstance(held, Mapping):
        return f"a {type(held).__name__}"
    keys = [f"{short(k, 30)!r} ({type(v).__name__})" for k, v in list(held.items())[:8]]
    return f"a {type(held).__name__} of {len(held)} keys: {', '.join(keys)}{', …' if len(held) > 8 else ''}"


def load_into(model: nn.Module, weights: Mapping[str, Any], path: Path, arch: str) -> tuple[str, ...]:
    """Put the weights into the model, all of its own and no unknown ones; gives notes on what was taken.

    What wrappers put into names, and what stands before all of the model's names ("module.", Lightning's "model."),
    is taken off; what stands beside them is left. Modules that read older names of their own do so.

    Raises:
        AdvisorError: when names or shapes differ, up to three of each listed, or when the model refuses them.
    """
    extra = [name for name in model.state_dict() if name.endswith(EXTRA)]
    weights = {name: value for name, value in weights.items() if not name.endswith(EXTRA)}
    weights, notes = by_own_names(weights, model, path, arch)
    weights = with_tied(weights, model, path, arch)
    other = _of_another_shape(weights, model.state_dict())
    try:
        missing, foreign = model.load_state_dict({k: v for k, v in weights.items() if k not in other}, strict=False)
    except Exception as error:
        raise AdvisorError(
            f"--arch {arch} does not take the weights in {path}: {type(error).__name__}: {short(error, 200)}.",
            "Load them as you do in training, and save model.state_dict() again.",
        ) from error
    missing = [name for name in missing if name not in other and not name.endswith((LEFT_OUT, EXTRA))]
    faults = [
        f"{len(keys)} {what} ({', '.join(short(key, 100) for key in keys[:3])}{', …' if len(keys) > 3 else ''})"
        for what, keys in (("missing", missing), ("unknown", foreign), ("of another shape", [*other.values()]))
        if keys
    ]
    if faults:
        raise AdvisorError(
            f"The weights in {path} do not fit --arch {arch}: {'; '.join(faults)}.",
            "Name the architecture they were saved from."
            if missing or foreign
            else f"Give its arguments: {ARGUMENTS}.",
        )
    return (*notes, *_left_out(extra))


def _left_out(extra: list[str]) -> tuple[str, ...]:
    """A module may unpickle its extra state, so that a stranger's would run code."""
    if not extra:
        return ()
    first = short(extra[0], 60)
    return (
        f"Left out the extra state {first}{f' and {len(extra) - 1} more' if extra[1:] else ''}: modules may run it.",
    )


def _of_another_shape(weights: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, str]:
    """What is said of each weight of another shape; as torch reads it, a number may be stored as a row of one."""
    import torch
    from torch.nn.parameter import is_lazy

    shapes = {
        name: (tuple(weights[name].shape), tuple(value.shape))
        for name, value in own.items()
        if name in weights and isinstance(value, torch.Tensor) and not is_lazy(value)
    }
    return {
        name: f"{short(name, 60)} {given} instead of {wanted}"
        for name, (given, wanted) in shapes.items()
        if given != wanted and (given, wanted) != ((1,), ())
    }


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
