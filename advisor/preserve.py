"""Leave the user's model, and their torch, as found: also when something raises."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn


@contextmanager
def left_as_found(model: nn.Module | None = None) -> Iterator[None]:
    """Restore training flags of every submodule, the random states, threads, default dtype and grad mode."""
    modes = {module: module.training for module in model.modules()} if isinstance(model, nn.Module) else {}
    torch_state, numpy_state, python_state = torch.get_rng_state(), np.random.get_state(), random.getstate()
    threads, dtype, grad = torch.get_num_threads(), torch.get_default_dtype(), torch.is_grad_enabled()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training
        torch.set_rng_state(torch_state)
        np.random.set_state(numpy_state)
        random.setstate(python_state)
        torch.set_grad_enabled(grad)
        torch.set_default_dtype(dtype)
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)


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
