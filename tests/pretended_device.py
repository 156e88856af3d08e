"""A device that is no CPU, made of one: tensors on it hold CPU tensors, and an operation that mixes the two raises.

As on a GPU: a tensor elsewhere may be copied, moved, read as a number of no dimension, or be the index of one there.
Values are those of the CPU, so that what is computed there can be held against what is computed here, number by number.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from advisor.computing.chosen_device import computing_on

NAME = "pretend"
aten = torch.ops.aten
PRODUCTS = (torch.matmul, Tensor.matmul, Tensor.__matmul__)
INDEXED = (aten.index.Tensor, aten.index_put.default, aten.index_put_.default, aten._index_put_impl_.default)


class MixedDevicesError(RuntimeError):
    """Tensors here and there in one operation."""


class There(Tensor):
    """A tensor on it, which holds one that is here."""

    held: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @staticmethod
    def __new__(cls, held: Tensor) -> There:
        made: There = torch.Tensor._make_subclass(  # type: ignore[attr-defined]
            cls, held, False, dispatch_device=True, device_for_backend_keys=device()
        )
        made.held = held
        return made

    def __deepcopy__(self, memo: Any) -> There:
        made = There(self.held.clone()).requires_grad_(self.requires_grad)
        made.__dict__.update({name: value for name, value in self.__dict__.items() if name != "held"})
        return made

    def tolist(self) -> Any:
        return self.held.tolist()

    def __format__(self, spec: str) -> str:
        return format(self.held, spec)

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return computed(func, args, kwargs or {})


class Pretend(TorchDispatchMode):
    """Within it the device is there."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return computed(func, args, kwargs or {})


class Copied(TorchFunctionMode):
    """`torch.tensor` and its kin copy to a device below the reach of `Pretend`: they are made here, then moved."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        keywords = dict(kwargs or {})
        if func in (torch.tensor, torch.as_tensor, torch.asarray) and not isinstance(args[0], There):
            wanted = keywords.pop("device", None)
            made = func(*args, **keywords)
            return made if wanted is None else made.to(wanted)
        if func is Tensor.new_tensor:
            return torch.tensor(*args[1:], dtype=args[0].dtype).to(args[0].device)
        if func in PRODUCTS and isinstance(args[0], There) and (args[0].dim(), args[1].dim()) == (1, 2):
            return func(
                args[1].t(), args[0]
            )  # a vector by a matrix is squeezed in place below: a size that `There` keeps
        if func in (Tensor.__getitem__, Tensor.__setitem__) and isinstance(args[0], There):
            place = args[1] if isinstance(args[1], tuple) else (args[1],)
            listed = tuple(torch.tensor(p).to(args[0].device) if isinstance(p, list) else p for p in place)
            return func(args[0], listed if isinstance(args[1], tuple) else listed[0], *args[2:])
        return func(*args, **keywords)


@functools.cache
def device() -> torch.device:
    torch.utils.backend_registration._setup_privateuseone_for_python_backend(NAME)
    getattr(torch, NAME).device_count = lambda: 0  # it draws nothing of its own: `fork_rng` has no state to keep
    return torch.device(NAME, 0)


@contextmanager
def pretended() -> Iterator[torch.device]:
    """Compute on it within the block."""
    with Pretend(), Copied(), computing_on(device()) as there:
        yield there


def computed(func: Any, args: Any, kwargs: Any) -> Any:
    """One operation, of tensors that all lie on one device."""
    if func is torch.ops.prim.device.default:
        return device()
    leaves, spec = pytree.tree_flatten((args, kwargs))
    there = [leaf for leaf in leaves if isinstance(leaf, There)]
    named = next((leaf for leaf in leaves if isinstance(leaf, torch.device)), None)
    if func is aten.copy_.default:
        _inner(args[0]).copy_(_inner(args[1]))
        return args[0]
    if func is aten._to_copy.default:
        made = func(_inner(args[0]), **{key: _inner(value) for key, value in kwargs.items()})
        goes = isinstance(args[0], There) if named is None else named.type == NAME
        return There(made) if goes else made
    if not there and (named is None or named.type != NAME):
        return func(*args, **kwargs)
    if there:
        tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
        judged = tensors[:1] if func in INDEXED and isinstance(tensors[0], There) else tensors
        wrong = [tuple(t.shape) for t in judged if not isinstance(t, There) and t.dim()]
        if wrong:
            raise MixedDevicesError(f"{func} of tensors here, {wrong}, and there")
    back = {id(t.held): t for t in there}
    inner_args, inner_kwargs = pytree.tree_unflatten([_inner(leaf) for leaf in leaves], spec)
    found = func(*inner_args, **inner_kwargs)
    return pytree.tree_map_only(Tensor, lambda t: back[id(t)] if id(t) in back else There(t), found)


def _inner(leaf: Any) -> Any:
    if isinstance(leaf, torch.device):
        return torch.device("cpu")
    return leaf.held if isinstance(leaf, There) else leaf
