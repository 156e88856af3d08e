"""`load_model`: whatever people have, as a model that can be traced, without running code from a file unasked."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from advisor.errors import AdvisorError
from advisor.loading import architectures, factories
from advisor.loading.archives import Archive, inspect_archive
from advisor.loading.content import Content, read_content, short
from advisor.loading.pickles import Trust, permit
from advisor.loading.shapes import example_of, infer_example
from advisor.loading.sniff import SAVE_AGAIN, sniff
from advisor.loading.tensor_files import read_legacy, read_safetensors, read_zipped
from advisor.loading.weight_names import needed
from advisor.loading.weights import check_finite, load_into, taken
from advisor.support.model_names import TORCHVISION, is_code

if TYPE_CHECKING:
    from torch import nn
    from torch.export import ExportedProgram

Normalization = tuple[tuple[float, ...], tuple[float, ...]]


@dataclass(frozen=True)
class LoadedModel:
    """A model and what is known about it.

    Attributes:
        model: an nn.Module in eval mode, or a torch.export program (also for TorchScript, which is converted).
        kind: "export", "torchscript", "module", "state_dict", "safetensors" or "torchvision".
        path: the file, or None for a model that was only named.
        sha256: of the file's bytes, "" without a file.
        example_inputs: tensors `[N, ...]` by position, from the file or from known weights; None where nothing tells.
        weights: "file", "pretrained" (torchvision's, cached) or "random": leakage and accuracy then mean nothing.
        normalization: (mean, std) per channel that belongs to the weights, or None.
        input_shape: one sample's shape without batch, where known or stated.
        notes: what was assumed, one sentence each, for people.
        name: what `load_model` was given where that is no file: `torchvision:resnet18`, `net.py:make`.
    """

    model: nn.Module | ExportedProgram
    kind: Literal["export", "torchscript", "module", "state_dict", "safetensors", "torchvision"]
    path: Path | None
    sha256: str
    example_inputs: tuple[Any, ...] | None = None
    weights: Literal["file", "pretrained", "random"] = "file"
    normalization: Normalization | None = None
    input_shape: tuple[int, ...] | None = None
    notes: tuple[str, ...] = ()
    name: str = ""


def load_model(
    source: str | Path, *, arch: str | None = None, trust: Trust = False, input_shape: tuple[int, ...] | None = None
) -> LoadedModel:
    """Load a model file, or build `torchvision:name` (`@random` for random weights) or what `net.py:make` builds.

    Args:
        source: a `.pt2`, TorchScript, pickled module, state dict or safetensors file, told apart by its bytes; or
            `package.module:factory`, `file.py:factory`, which is code and asks for trust.
        arch: for a state dict, `package.module:factory`, `file.py:factory` or `torchvision:name`, with arguments in
            parentheses where it takes any: `torchvision:resnet18(num_classes=10)`.
        trust: run code from the file, or what is named; or a question to the user, asked with what it would do.
        input_shape: one sample's shape without batch, when the user states it.

    Raises:
        UnsafeFileError: when the file would run code and is not trusted.
        AdvisorError: when it cannot be read, is no model, or does not fit; one line with the next step.
    """
    if str(source).startswith(TORCHVISION):
        loaded = _torchvision(str(source).removeprefix(TORCHVISION))
        loaded = dataclasses.replace(loaded, name=str(source))
    elif is_code(str(source)):
        loaded = _of_code(str(source), trust)
    else:
        loaded = _from_file(Path(source), arch, trust, input_shape)
    return _with_shape(loaded, input_shape)


def _with_shape(loaded: LoadedModel, input_shape: tuple[int, ...] | None) -> LoadedModel:
    from torch import nn

    if input_shape is None or not isinstance(loaded.model, nn.Module):
        return loaded
    if not all(size > 0 for size in input_shape):
        raise AdvisorError(f"The input shape {input_shape} has a size below 1.", "State it as --input-shape 3,224,224.")
    example = example_of(loaded.model, input_shape)
    return dataclasses.replace(loaded, input_shape=input_shape, example_inputs=(example,))


def _torchvision(name: str) -> LoadedModel:
    plain, random = name.removesuffix("@random"), name.endswith("@random")
    entries = architectures.available_weights(plain)
    found = None if random else architectures.pretrained_torchvision(plain)
    if found is not None:
        model, weights, content = found
        shape, normalization = architectures.transform_facts(weights)
        note = f"Pretrained weights {weights} from {content.path}."
        return LoadedModel(
            model,
            "torchvision",
            content.path,
            content.sha256,
            _zeros(shape),
            "pretrained",
            normalization,
            shape,
            (note,),
        )
    shape = architectures.transform_facts(entries[0])[0] if entries else None
    get = f"python -c \"import torchvision; torchvision.models.get_model('{plain}', weights='DEFAULT')\""
    note = f"No pretrained weights of {plain} are cached, so these are random; to get them: {get}"
    notes = () if random or not entries else (note,)
    model = architectures.random_torchvision(plain)
    return LoadedModel(model, "torchvision", None, "", _zeros(shape), "random", None, shape, notes)


def _of_code(name: str, trust: Trust) -> LoadedModel:
    """What a function of the user's builds, weights included; as a name may come from anywhere, it asks for trust."""
    permit(Path(name), "it names code, which would be run", trust)
    model, random = factories.built(name)
    check_finite({**dict(model.named_buffers()), **dict(model.named_parameters())}, name)
    return LoadedModel(model, "module", None, "", weights="random" if random else "file", name=name)


def _zeros(shape: tuple[int, ...] | None) -> tuple[Any, ...] | None:
    import torch

    return None if shape is None else (torch.zeros(2, *shape),)


def _from_file(path: Path, arch: str | None, trust: Trust, input_shape: tuple[int, ...] | None) -> LoadedModel:
    content = read_content(path)
    kind = sniff(content)
    if kind == "safetensors":
        return _with_arch(read_safetensors(content), "safetensors", content, arch)
    if kind == "pickle":
        return _from_pickle(content, read_legacy(content, trust), arch)
    archive = inspect_archive(content)
    if archive.root and "archive_format" in archive:
        return _exported(archive, trust)
    if archive.root and "constants.pkl" in archive and "data.pkl" in archive:
        return _script(archive, trust, input_shape)
    if archive.root and "data.pkl" in archive:
        return _from_pickle(content, read_zipped(archive, trust), arch)
    raise _unknown_zip(archive)


def _unknown_zip(archive: Archive) -> AdvisorError:
    if "serialized_exported_program.json" in archive:
        return AdvisorError(
            f"{archive.path} was saved by a torch before 2.8.", "Load it there and save it with this torch."
        )
    if archive.sizes and all(name.endswith(".npy") for name in archive.sizes):
        return AdvisorError(
            f"{archive.path} is an .npz of arrays, not a model.", "Arrays are data: pass it with --data."
        )
    if "model.weights.h5" in archive:
        return AdvisorError(f"{archive.path} is a Keras model.", SAVE_AGAIN)
    return AdvisorError(f"{archive.path} is a zip archive, but no torch model.", SAVE_AGAIN)


def _exported(archive: Archive, trust: Trust) -> LoadedModel:
    from advisor.loading.exported_programs.pt2 import load_program

    program = load_program(archive, trust)
    check_finite({**program.state_dict, **program.constants}, archive.path.name)
    args = _example(program)
    shape = tuple(args[0].shape[1:]) if args else None
    return LoadedModel(program, "export", archive.path, archive.content.sha256, example_inputs=args, input_shape=shape)


def _example(program: ExportedProgram) -> tuple[Any, ...] | None:
    """Tensors that the program was exported with; None where the file holds none, or something else."""
    import torch

    match program.example_inputs:
        case (tuple(args), dict(keywords)):
            values = (*args, *keywords.values())
            return values if values and all(isinstance(v, torch.Tensor) and v.dim() for v in values) else None
    return None


def _script(archive: Archive, trust: Trust, input_shape: tuple[int, ...] | None) -> LoadedModel:
    from advisor.loading.torchscript.converter import convert, load_script, traced_shape

    script = load_script(archive, trust)
    check_finite({**dict(script.named_buffers()), **dict(script.named_parameters())}, archive.path.name)
    shape, notes = (
        input_shape or traced_shape(archive),
        ["TorchScript loses module paths: cuts are named by the nearest weights."],
    )
    if shape is None:
        example, note = infer_example(script)
        notes.append(note)
    else:
        example = example_of(script, shape)
    program = convert(script, (example,))
    return LoadedModel(
        program, "torchscript", archive.path, archive.content.sha256,
        example_inputs=(example,), input_shape=tuple(example.shape[1:]), notes=tuple(notes),
    )  # fmt: skip


def _from_pickle(content: Content, held: Any, arch: str | None) -> LoadedModel:
    """A state dict as torch's restricted reader gave it, or the module of a trusted pickle."""
    from torch import nn

    found, notes = taken(held, content.path, lambda: needed(factories.build(arch)) if arch else [])
    if isinstance(found, nn.Module):
        check_finite({**dict(found.named_buffers()), **dict(found.named_parameters())}, content.path.name)
        return LoadedModel(found.eval(), "module", content.path, content.sha256, notes=notes)
    return _with_arch(found, "state_dict", content, arch, notes)


def _with_arch(
    weights: dict[str, Any],
    kind: Literal["state_dict", "safetensors"],
    content: Content,
    arch: str | None,
    notes: tuple[str, ...] = (),
) -> LoadedModel:
    path = content.path
    if arch is None:
        raise AdvisorError(
            f"{path} holds weights only ({len(weights)} tensors, the first {short(next(iter(weights), ''))!r}).",
            "Name the function that builds the model, as --arch package.module:factory.",
        )
    check_finite(weights, path.name)
    model = factories.build(arch)
    notes += load_into(model, weights, path, arch)
    return LoadedModel(model, kind, path, content.sha256, notes=notes)
