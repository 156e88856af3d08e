"""What is made without a device is made on the compute device; what is drawn is drawn on the CPU and moved.

So the same seeds give the same draws on every device, and code that measures names no device at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree
from torch.utils._device import _device_constructors

DRAWS = frozenset({
    torch.rand, torch.randn, torch.randint, torch.randperm, torch.normal, torch.bernoulli, torch.multinomial,
    torch.rand_like, torch.randn_like, torch.randint_like, torch.poisson, Tensor.bernoulli, Tensor.multinomial,
})  # fmt: skip
"""Functions whose result is random."""

FILLS = frozenset({
    Tensor.normal_, Tensor.uniform_, Tensor.bernoulli_, Tensor.random_, Tensor.exponential_, Tensor.geometric_,
    Tensor.cauchy_, Tensor.log_normal_,
})  # fmt: skip
"""Methods that fill a tensor with random numbers."""

READS: frozenset[Any] = frozenset((Tensor.numpy, Tensor.__array__))
"""What hands a tensor to NumPy."""

STAYS = frozenset({torch.from_file})
"""A mapped file lies in the computer's own memory, whatever computes."""


class OnDevice(TorchFunctionMode):
    """Within it, tensors are made on a device.

    Args:
        device: where.
    """

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self.device = device
        self.makes = frozenset(_device_constructors()) - DRAWS - STAYS

    def __torch_function__(
        self, func: Any, types: Iterable[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """One call of torch."""
        keywords = dict(kwargs or {})
        if self.device.type == "mps":
            func, args, keywords = _in_single_precision(func, args, keywords)
        if func in DRAWS:
            return self._drawn(func, args, keywords)
        if func in FILLS or getattr(func, "__module__", "") == "torch.nn.init":
            return self._filled(func, args, keywords)
        if func in READS:
            return func(args[0].cpu(), *args[1:], **keywords)
        if func in self.makes and keywords.get("device") is None:
            keywords["device"] = self.device
        return func(*args, **keywords)

    def _drawn(self, func: Callable[..., Any], args: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
        wanted = keywords.pop("device", None) or self.device
        args, keywords = pytree.tree_map_only(Tensor, Tensor.cpu, (args, keywords))
        return func(*args, **keywords).to(wanted)

    def _filled(self, func: Callable[..., Any], args: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
        """In place: a tensor of its shape is filled on the CPU, and copied over it."""
        held = args[0] if args else keywords.pop("tensor")
        with torch.no_grad():
            held.copy_(func(torch.empty_like(held, device="cpu"), *args[1:], **keywords))
        return held


def _in_single_precision(func: Any, args: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
    """The same call for a device that has no 64-bit numbers."""
    func = Tensor.float if func is Tensor.double else func
    if func in (torch.as_tensor, torch.tensor) and str(getattr(args[0], "dtype", "")) == "float64":  # of NumPy
        keywords.setdefault("dtype", torch.float32)
    args, keywords = pytree.tree_map_only(
        torch.dtype, lambda kind: torch.float32 if kind == torch.float64 else kind, (args, keywords)
    )
    return func, args, keywords
