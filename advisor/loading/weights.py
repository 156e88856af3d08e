"""State dicts: finding one in a checkpoint, matching it to an architecture, checking its numbers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from advisor.errors import AdvisorError
from advisor.loading.architectures import ARGUMENTS

if TYPE_CHECKING:
    from torch import Tensor, nn

CHECKPOINT_KEYS = ("state_dict", "model_state_dict", "model", "net", "module", "weights", "params", "ema")


def state_dict_in(content: Any, path: Path) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """The state dict in what a file held, and notes on what was taken.

    Raises:
        AdvisorError: when there is none.
    """
    import torch

    notes: list[str] = []
    for _ in range(2):  # a checkpoint may nest one more level
        if not isinstance(content, Mapping):
            break
        tensors = {k: v for k, v in content.items() if isinstance(k, str) and isinstance(v, torch.Tensor)}
        inner = next((k for k in CHECKPOINT_KEYS if isinstance(content.get(k), Mapping)), None)
        if inner is not None and len(tensors) < len(content[inner]):
            notes.append(f"Took {inner!r} from the checkpoint.")
            content = content[inner]
            continue
        if tensors:
            return tensors, tuple(notes)
        break
    raise AdvisorError(
        f"{path} holds no weights but a {type(content).__name__}.", "Save model.state_dict() or torch.export.save(...)."
    )


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
    missing = [k for k in needed if k not in weights]
    foreign = [k for k in weights if k not in own]
    other = [
        f"{k} {tuple(weights[k].shape)} instead of {tuple(own[k].shape)}"
        for k in own
        if k in weights and weights[k].shape != own[k].shape
    ]
    faults = [
        f"{len(keys)} {what} ({', '.join(keys[:3])}{', …' if len(keys) > 3 else ''})"
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
        bad = torch.isnan(value) if mask else ~torch.isfinite(value)
        if bool(bad.any()):
            raise AdvisorError(
                f"The weight {name!r} of {what} holds NaN or infinity ({int(bad.sum())} of {value.numel()} values).",
                "The training diverged or the file is damaged; take an earlier checkpoint.",
            )


def check_sizes(weights: Mapping[str, Tensor], path: Path) -> None:
    """Refuse tensors larger than their file: expanded from a few bytes, they would fill all memory.

    Raises:
        AdvisorError: naming the tensor.
    """
    limit = path.stat().st_size
    for name, value in weights.items():
        if value.numel() > limit:
            raise AdvisorError(
                f"{path} is refused: {name!r} declares {value.numel():,} elements, the file has {limit:,} bytes.",
                "It was not written by torch; get the model from its source.",
            )
