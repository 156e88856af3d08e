"""TorchScript to torch.export. The converter is private to torch: all that touches it is in this file."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from advisor.errors import AdvisorError
from advisor.loading.archives import Archive
from advisor.loading.pickles import Trust, permit, tensor_shapes
from advisor.loading.quiet import quiet

if TYPE_CHECKING:
    import torch
    from torch import fx
    from torch.export import ExportedProgram

# TorchScript runs in torch's own interpreter, not in Python; these calls still reach files or foreign code.
CALLS = re.compile(r"\b(?:torch|ops\.aten)\.(save|from_file)\s*\(|\bops\.(\w+)\.\w+|__torch__\.torch\.classes\.(\w+)")
PLAIN = frozenset({"aten", "prim", "prims", "quantized", "torchvision", "_quantized", "xnnpack", "rnn"})

THREE_LINES = (
    "Save a .pt2 from the Python model: "
    "import torch; program = torch.export.export(model, (x,), dynamic_shapes=({0: torch.export.Dim.AUTO},)); "
    "torch.export.save(program, 'model.pt2')"
)


def load_script(archive: Archive, trust: Trust) -> torch.jit.ScriptModule:
    """Load a TorchScript archive whose operators were looked over.

    Raises:
        UnsafeFileError: when it calls operators that reach files or foreign code, and is not trusted.
        AdvisorError: when it is damaged.
    """
    import torch

    called = surprising_calls(archive)
    if called:
        permit(archive.path, f"it would call {', '.join(called[:3])}", trust)
    try:
        with quiet():
            return torch.jit.load(str(archive.path), map_location="cpu").eval()  # type: ignore[no-any-return, no-untyped-call]
    except Exception as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
        raise AdvisorError(f"{archive.path} is a damaged TorchScript file: {lines[0][:200]}.", THREE_LINES) from error


def surprising_calls(archive: Archive) -> list[str]:
    """Operators in the archive's code that reach files or come from neither torch nor torchvision."""
    found: dict[str, None] = {}
    for name in archive.below("code/"):
        if not name.endswith(".py"):
            continue
        for match in CALLS.finditer(archive.read(name).decode("utf-8", "replace")):
            if match[1] or (match[2] or match[3]) not in PLAIN:
                found[match[0].rstrip("( ")] = None
    return list(found)


def traced_shape(archive: Archive) -> tuple[int, ...] | None:
    """Shape without batch of the one input a model was traced with, when the file tells."""
    if "traced_inputs.pkl" not in archive:
        return None
    shapes = tensor_shapes(archive.read("traced_inputs.pkl"))
    inputs = shapes.get("forward") if isinstance(shapes, dict) else None
    if not isinstance(inputs, list) or len(inputs) != 1 or not isinstance(inputs[0], tuple):
        return None
    shape = inputs[0][1:]
    return shape if shape and all(isinstance(s, int) and 0 < s < 2**20 for s in shape) else None


def convert(script: torch.jit.ScriptModule, example_inputs: tuple[Any, ...]) -> ExportedProgram:
    """A TorchScript module as a torch.export program with a dynamic batch.

    The converter keeps the names of weights but not module paths; each operation is given the path of the module that
    owns its weights, and an operation without weights that of the parent of the nearest owner before it.

    Args:
        script: the module, in eval mode.
        example_inputs: tensors `[N, ...]`, N of at least 2.

    Raises:
        AdvisorError: when torch's converter refuses the module; the message prints the lines that save a .pt2.
    """
    import torch

    graph: Any = script.inlined_graph
    if graph.findAllNodes("prim::PythonOp"):  # the converter would crash the process
        raise AdvisorError("TorchScript cannot take an autograd function of your own.", f"{THREE_LINES}.")
    try:
        with quiet(), torch.no_grad():
            module = _graph_module(script, example_inputs)
            shapes = tuple(
                {0: torch.export.Dim.AUTO} if isinstance(x, torch.Tensor) and x.dim() else None for x in example_inputs
            )
            program = torch.export.export(module, example_inputs, dynamic_shapes=shapes, strict=False)
    except Exception as error:
        line = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise AdvisorError(f"torch's TorchScript converter refuses this model: {line}.", f"{THREE_LINES}.") from error
    name_by_owner(program)
    return program


def _graph_module(script: torch.jit.ScriptModule, inputs: tuple[Any, ...]) -> fx.GraphModule:
    """The converter's graph before it exports it again with every dimension dynamic, which is slow and often fails."""
    from torch._export.converter import TS2EPConverter
    from torch.nn import Parameter

    taken: list[fx.GraphModule] = []

    class Taken(Exception):  # noqa: N818 - not an error
        pass

    class Converter(TS2EPConverter):
        def retrace_as_exported_program(self, gm: fx.GraphModule, name_to_constant: dict[str, Any]) -> Any:
            taken.append(gm)
            raise Taken

    converter = Converter(script, inputs)
    try:
        converter.convert()
    except Taken:
        module = taken[0]
    for name, value in script.named_parameters():
        path, _, leaf = name.rpartition(".")
        try:
            owner = module.get_submodule(path)
        except AttributeError:
            continue  # a weight that no operation reads
        if owner._buffers.pop(leaf, None) is not None:
            owner.register_parameter(leaf, Parameter(value.detach(), requires_grad=value.requires_grad))
    return module


def name_by_owner(program: ExportedProgram) -> None:
    """Write `nn_module_stack` on every operation, from the names of the weights it reads."""
    signature = program.graph_signature
    lifted = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
    scopes: dict[fx.Node, tuple[int, str]] = {}  # where an operation without weights that follows would be
    for position, node in enumerate(program.graph.nodes):
        if node.op != "call_function":
            continue
        owners = [lifted[s.name].rpartition(".")[0] for s in node.all_input_nodes if s.name in lifted]
        if owners:
            path = max(owners, key=len)
            scopes[node] = (position, path.rpartition(".")[0])
        else:
            scopes[node] = _latest([scopes[s] for s in node.all_input_nodes if s in scopes])
            path = scopes[node][1]
        node.meta["nn_module_stack"] = _stack(path)


def _latest(scopes: list[tuple[int, str]]) -> tuple[int, str]:
    """The latest scope, or the one around it that another operand ends in: a sum closes the block, not its shortcut."""
    position, latest = max(scopes, default=(0, ""))
    around = [path for _, path in scopes if path and f"{latest}.".startswith(f"{path}.")]
    return position, min(around, key=len, default="")


def _stack(path: str) -> dict[str, tuple[str, str]]:
    parts = path.split(".") if path else []
    paths = ["", *(".".join(parts[: i + 1]) for i in range(len(parts)))]
    return {f"L__self__{p}": (p, "torch.nn.modules.module.Module") for p in paths}
