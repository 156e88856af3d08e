"""TorchScript to torch.export. The converter is private to torch: all that touches it is in this file."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from advisor.errors import AdvisorError
from advisor.loading.archives import Archive
from advisor.loading.content import short
from advisor.loading.pickle_reader import Made, Pickled, read_pickles
from advisor.loading.pickles import STORAGE, Trust, permit, storage_faults, tensor_shapes
from advisor.loading.torchscript.graphs import graph_dangers
from advisor.loading.torchscript.parsed_code import source_dangers
from advisor.support.quiet import quiet

if TYPE_CHECKING:
    import torch
    from torch import fx
    from torch.export import ExportedProgram

MEMBERS = re.compile(
    r"(data|constants)\.pkl|(data|constants)/\d+|code/[\w/]+\.py|version|byteorder|\.format_version|\.storage_alignment|\.data/\w+"
)
IGNORED = re.compile(  # never given to torch: its reader of these is not made for strangers' files
    r"code/[\w/]+\.py\.debug_pkl|extra/.*|traced_inputs\.pkl|traced_inputs/\d+|attributes\.pkl"
    r"|(bytecode|mobile_debug_handles)\.pkl|bytecode/\d+|call_stack\w*\.pkl"
)
NAMES = re.compile(
    r"__torch__\.(?!torch\.classes\b)[\w.]+|collections\.OrderedDict|torch\._utils\._rebuild_tensor_v2|torch\.device"
    r"|torch\.jit\._pickle\.(restore_type_tag|build_(int|tensor|double|bool)list)|" + STORAGE.pattern
)
TYPE_TAG = re.compile(r"[\w\[\], .]{1,2000}", re.ASCII)
MAX_MODULES = 200_000

THREE_LINES = (
    "Save a .pt2 from the Python model: "
    "import torch; program = torch.export.export(model, (x,), dynamic_shapes=({0: torch.export.Dim.AUTO},)); "
    "torch.export.save(program, 'model.pt2')"
)


def load_script(archive: Archive, trust: Trust) -> torch.jit.ScriptModule:
    """Load a TorchScript archive whose code, pickles and compiled graphs were checked, or which the user trusts.

    Raises:
        UnsafeFileError: when it would reach more than tensors, and is not trusted.
        AdvisorError: when it is damaged.
    """
    import torch

    reasons = list(itertools.islice(script_dangers(archive), 1))
    if reasons and "mkldnn" in reasons[0]:
        raise AdvisorError(
            f"{archive.path} was saved after torch.jit.optimize_for_inference, which packs weights for one processor.",
            "Save it before that.",
        )
    if reasons:
        permit(archive.path, reasons[0], trust)
    stream = archive.content.stream() if reasons else archive.only([n for n in archive.sizes if MEMBERS.fullmatch(n)])
    try:
        with quiet():
            script: torch.jit.ScriptModule = torch.jit.load(stream, map_location="cpu")  # type: ignore[no-untyped-call]
    except Exception as error:
        raise AdvisorError(
            f"{archive.path} is a damaged TorchScript file: {short(error, 200)}.", THREE_LINES
        ) from error
    for reason in itertools.islice(graph_dangers(script), 0 if reasons else 1):
        permit(archive.path, reason, trust)
    return script.eval()


def script_dangers(archive: Archive) -> Iterator[str]:
    """Every way in which loading or running this archive would reach more than tensors, each as one reason.

    Raises:
        AdvisorError: a tensor in it does not lie within its record, or it holds a member that torch does not write.
    """
    unknown = [name for name in archive.sizes if not MEMBERS.fullmatch(name) and not IGNORED.fullmatch(name)]
    if unknown:
        yield f"torch writes no member {short(unknown[0])!r}"
    for name in ("data", "constants"):
        found = read_pickles(archive.read(f"{name}.pkl"))
        for imported in found.imports:
            if not NAMES.fullmatch(imported):
                yield f"it holds a {short(imported)}"
        records = {n.removeprefix(f"{name}/"): archive.sizes[n] for n in archive.below(f"{name}/")}
        for fault in (found.fault, *storage_faults(found, records), *_structure_faults(found)):
            if fault:
                raise AdvisorError(f"{archive.path} is a damaged TorchScript file: {fault}.", THREE_LINES)
    yield from source_dangers(archive)


def _structure_faults(found: Pickled) -> Iterator[str]:
    """Type tags that are no types; modules that hold themselves, or each other so often that torch would never end."""
    for made in found.made:
        if made.name.endswith("restore_type_tag"):
            tag = made.arguments[1] if len(made.arguments) == 2 else None
            if not isinstance(tag, str) or not TYPE_TAG.fullmatch(tag):
                yield "a type in it is none"
        elif not made.name.startswith("__torch__") and made.state is not None:
            yield f"it sets the state of a {short(made.name)}"
    try:
        if sum(_modules(value, {}) for value in found.values) > MAX_MODULES:
            yield f"it holds more than {MAX_MODULES:,} modules"
    except RecursionError:
        yield "a module in it holds itself"


def _modules(value: Any, known: dict[int, int]) -> int:
    """Values below this one, counted at each mention: torch wraps a module anew wherever it is held."""
    if id(value) in known:
        if known[id(value)] < 0:
            raise RecursionError
        return known[id(value)]
    match value:
        case Made(_, arguments, state):
            parts = [*arguments, state]
        case dict():
            parts = list(value.values())
        case list() | tuple():
            parts = list(value)
        case _:
            return 0
    known[id(value)] = -1
    known[id(value)] = 1 + sum(_modules(part, known) for part in parts)
    return known[id(value)]


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
        line = (str(error).strip().splitlines() or [type(error).__name__])[0][:200].rstrip(".")
        raise AdvisorError(f"torch's TorchScript converter refuses this model: {line}.", f"{THREE_LINES}.") from error
    name_by_owner(program)
    return program


def _graph_module(script: torch.jit.ScriptModule, inputs: tuple[Any, ...]) -> fx.GraphModule:
    """The converter's graph before it exports it again with every dimension dynamic, which is slow and often fails."""
    from torch._export.converter import TS2EPConverter
    from torch.nn import Parameter

    from advisor.loading.torchscript.constant_weights import own_constant_weights
    from advisor.loading.torchscript.sizes import sizes_as_numbers

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
    sizes_as_numbers(module)
    own_constant_weights(module, list(script.parameters()))
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
