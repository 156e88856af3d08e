"""Leave the user's model, and their torch, as found: also when something raises."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import nn


@contextmanager
def left_as_found(model: nn.Module | None = None) -> Iterator[None]:
    """Restore training flags and state of every submodule, the random states, threads, default dtype and grad mode."""
    modes = {module: module.training for module in model.modules()} if isinstance(model, nn.Module) else {}
    torch_state, numpy_state, python_state = torch.get_rng_state(), np.random.get_state(), random.getstate()
    threads, dtype, grad = torch.get_num_threads(), torch.get_default_dtype(), torch.is_grad_enabled()
    level = _transforms()
    try:
        with state_kept(model) if isinstance(model, nn.Module) else nullcontext():
            yield
    finally:
        for module, training in modes.items():
            module.training = training
        while _transforms() > level:  # a program that ended between the two ends of one
            torch._C._functorch.pop_dynamic_layer_stack()
        torch.set_rng_state(torch_state)
        np.random.set_state(numpy_state)
        random.setstate(python_state)
        torch.set_grad_enabled(grad)
        torch.set_default_dtype(dtype)
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)


def _transforms() -> int:
    """How many torch.func transforms are entered."""
    return torch._C._functorch.maybe_current_level() or 0


@contextmanager
def state_kept(model: nn.Module) -> Iterator[None]:
    """Put back what a run writes: values of buffers, of tables with `max_norm`, and attributes of every submodule.

    Dictionaries, lists and sets among the attributes get their own elements back: a forward may keep in them what it
    computed, and under torch.export that is a tensor without values.
    """
    tables = [
        m.weight for m in model.modules() if isinstance(m, (nn.Embedding, nn.EmbeddingBag)) and m.max_norm is not None
    ]
    buffers = {b: b.detach().clone() for b in (*model.buffers(), *tables) if not b.is_meta}
    versions = {b: b._version for b in buffers if not b.is_inference()}
    plain = [module for module in model.modules() if not isinstance(module, torch.jit.ScriptModule)]
    attributes = {module: dict(vars(module)) for module in plain}
    held = _held(attributes.values())
    try:
        yield
    finally:
        for module, before in attributes.items():
            vars(module).clear()
            vars(module).update(before)
        for container, elements in held:
            container.clear()
            (container.extend if isinstance(container, list) else container.update)(elements)
        with torch.no_grad():
            for buffer, value in buffers.items():
                if versions.get(buffer) != (None if buffer.is_inference() else buffer._version):
                    buffer.copy_(value)


def _held(containers: Iterable[Any]) -> list[tuple[Any, Any]]:
    """Each dictionary, list and set within some, however deep, with a copy of it."""
    found: dict[int, tuple[Any, Any]] = {}
    waiting = list(containers)
    while waiting:
        container = waiting.pop()
        for value in container.values() if isinstance(container, dict) else container:
            if isinstance(value, dict | list | set) and id(value) not in found:
                found[id(value)] = (value, copy.copy(value))
                waiting.append(value)
    return list(found.values())


def evaluating(model: nn.Module) -> None:
    """Switch training off, as model.eval() does; of a model that is not training, what still is was meant to be.

    No train() of the model's own is called, which may do more than that (merge weights, for one).
    """
    if model.training:
        for module in model.modules():
            module.training = False


@contextmanager
def plain_attention() -> Iterator[None]:
    """Turn torch's fused multi-head fast path off: it computes something else than the graph it exports."""
    enabled = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(enabled)


@contextmanager
def math_attention() -> Iterator[None]:
    """Scaled dot-product attention by its formula: the fused kernels have no forward-mode derivative."""
    from torch.nn.attention import SDPBackend, sdpa_kernel

    with sdpa_kernel(SDPBackend.MATH):
        yield


@contextmanager
def without_mkldnn() -> Iterator[None]:
    """Recurrent layers by torch's own kernels: those of mkldnn have no forward-mode derivative."""
    enabled = torch._C._get_mkldnn_enabled()
    torch._C._set_mkldnn_enabled(False)
    try:
        yield
    finally:
        torch._C._set_mkldnn_enabled(enabled)
