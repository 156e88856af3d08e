"""What is installed, what this machine can measure, what is missing and how to get it: rows for `advisor doctor`."""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

PACKAGE = "partition-advisor"
NEEDED = ("torch", "torchvision", "numpy", "optuna", "torchmetrics")
OPTIONAL = {
    "onnx": ("ONNX files: split --format onnx", "onnx"),
    "onnxruntime": ("timing by ONNX Runtime: --device local:onnxruntime", "onnx"),
    "onnxscript": ("ONNX files: split --format onnx", "onnx"),
    "pandas": ("Profile.to_pandas", "pandas"),
    "timm": ("building timm's models: --arch timm:create_model(...)", ""),
    "transformers": ("building Hugging Face's models by --arch", ""),
}
"""Package -> what it gives, and the extra that brings it."""
State = Literal["ok", "missing", "wrong"]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked for.

    Attributes:
        group: "installed", "measures" or "settings".
        name: what was looked for.
        state: "ok"; "missing" where something is not there that need not be; "wrong" where the program cannot work.
        found: what was found, or what is lost without it.
        get: how to get it; "" where nothing is missing.
    """

    group: str
    name: str
    state: State
    found: str
    get: str = ""


def findings() -> Iterator[Finding]:
    """Everything, in the order in which it is shown."""
    yield Finding("installed", PACKAGE, "ok", f"{version(PACKAGE)}, Python {platform.python_version()}")
    yield from (_needed(name) for name in NEEDED)
    yield from (_optional(name) for name in OPTIONAL)
    yield _processor()
    yield from _accelerators()
    yield _energy()
    yield _ssh()
    yield _lpips()
    yield _pretrained()
    yield _temporary()
    yield _settings()


def _needed(name: str) -> Finding:
    try:
        return Finding("installed", name, "ok", version(name))
    except PackageNotFoundError:
        return Finding(
            "installed", name, "wrong", "nothing runs without it", f"pip install --force-reinstall {PACKAGE}"
        )


def _optional(name: str) -> Finding:
    gives, extra = OPTIONAL[name]
    try:
        return Finding("installed", name, "ok", f"{version(name)}, for {gives}")
    except PackageNotFoundError:
        wanted = f"'{PACKAGE}[{extra}]'" if extra else name
        return Finding("installed", name, "missing", f"needed for {gives}", f"pip install {wanted}")


def _processor() -> Finding:
    import torch

    threads = torch.get_num_threads()
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    told = f"{platform.machine()}, {allowed} cores, {threads} threads; times by --device local, or advisor calibrate"
    return Finding("measures", "this CPU", "ok", told)


def _accelerators() -> Iterator[Finding]:
    """GPUs that torch sees; models are run on the CPU, so that they are named and not promised."""
    import torch

    for number in range(torch.cuda.device_count()):
        yield Finding("measures", f"cuda:{number}", "ok", f"{torch.cuda.get_device_name(number)}, seen by torch")
    if not torch.cuda.device_count():
        yield Finding(
            "measures", "GPU", "missing", "torch sees none: times on a GPU are estimated from the catalog",
            "run `advisor profile` over ssh:// on a machine that has one",
        )  # fmt: skip


def _energy() -> Finding:
    return Finding(
        "measures", "energy", "missing", "not read here: edge_energy is the catalog's power times time",
        "give your device's power in a TOML file: advisor profile --extra FILE",
    )  # fmt: skip


def _ssh() -> Finding:
    if found := shutil.which("ssh"):
        return Finding("measures", "ssh", "ok", f"{found}; times on a device by --device ssh://user@host")
    return Finding("measures", "ssh", "missing", "no device can be reached", "install OpenSSH's client")


def _lpips() -> Finding:
    from advisor.measures.perceptual import network_at_hand

    if net := network_at_hand():
        return Finding("measures", "LPIPS", "ok", f"with {net}'s weights from torch's cache")
    return Finding(
        "measures", "LPIPS", "missing", "attacks report no perceptual distance",
        'python -c "import torchvision; torchvision.models.alexnet(weights=\'DEFAULT\')"',
    )  # fmt: skip


def _pretrained() -> Finding:
    import torch

    folder = Path(torch.hub.get_dir()) / "checkpoints"
    count = len([*folder.glob("*.pth")])
    told = f"{count} files of weights in {folder}; torchvision:NAME takes its own from there"
    if count:
        return Finding("measures", "pretrained weights", "ok", told)
    return Finding(
        "measures", "pretrained weights", "missing", told,
        'python -c "import torchvision; torchvision.models.resnet18(weights=\'DEFAULT\')"',
    )  # fmt: skip


def _temporary() -> Finding:
    place = tempfile.gettempdir()
    free = shutil.disk_usage(place).free / 1e9
    if free >= 1:
        return Finding("settings", "temporary folder", "ok", f"{place}, {free:.1f} GB free")
    return Finding("settings", "temporary folder", "missing", f"{place} has {free:.2f} GB free", "set TMPDIR")


def _settings() -> Finding:
    from advisor.errors import AdvisorError
    from advisor.settings import LISTED, defaults

    try:
        found, path = defaults(Path())
    except AdvisorError as error:
        return Finding("settings", "defaults", "wrong", error.problem, error.next_step)
    if found:
        return Finding("settings", "defaults", "ok", f"{path} sets {', '.join(found)}")
    return Finding("settings", "defaults", "missing", "no advisor.toml here, no [tool.advisor]", f"it may set {LISTED}")
