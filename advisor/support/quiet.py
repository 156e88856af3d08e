"""Silence for torch's own machinery: what matters is raised as one line, the rest a user cannot act on."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any, TextIO

_SPEAKERS = frozenset({"torch", "onnxscript", "onnx_ir", "torchvision"})


@contextmanager
def quiet() -> Iterator[None]:
    """No warnings, log lines or prints of torch and its ONNX exporter inside; everything as found afterwards.

    What other code prints meanwhile is let through: another thread's progress, a model's own prints, a traceback.
    """
    loggers = [logging.getLogger(name) for name in _SPEAKERS]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    streams: tuple[Any, Any] = (_WithoutTorch(sys.stdout), _WithoutTorch(sys.stderr))
    try:
        with warnings.catch_warnings(), redirect_stdout(streams[0]), redirect_stderr(streams[1]):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def quiet_kernels() -> None:
    """No warnings of torch's C++ code, which go past Python to the terminal: to be called before torch is imported.

    They tell the source line of a kernel. Errors are raised all the same; a level that the user set stays.
    """
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")


def usable_cache() -> None:
    """Where torch could not make the folder that its compiler is told to use: none is told, so that torch can load.

    It makes that folder when `torch.export` is imported, though nothing is compiled here.
    """
    place = os.environ.get("TORCHINDUCTOR_CACHE_DIR")
    if not place:
        return
    try:
        os.makedirs(place, exist_ok=True)
    except OSError:
        del os.environ["TORCHINDUCTOR_CACHE_DIR"]


class _WithoutTorch:
    """A stream less what torch prints: a refused model's whole graph, for one."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write, unless a module of torch does."""
        writer = str(sys._getframe(1).f_globals.get("__name__"))
        return len(text) if writer.partition(".")[0] in _SPEAKERS else self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
