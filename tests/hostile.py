"""Crafted model files, made on the spot. Each must be refused in one line, and none may run its payload.

A payload creates the file `mark` when it runs; a test checks that it does not exist.
"""

from __future__ import annotations

import gzip
import io
import json
import pickle
import struct
import warnings
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save as safetensors_bytes
from torch import nn

Make = Callable[[Path, Path], Path]


class Payload:
    """Creates `mark` when unpickled."""

    def __init__(self, mark: Path) -> None:
        self.code = code(mark)

    def __reduce__(self) -> tuple[Any, ...]:
        return exec, (self.code,)


def code(mark: Path) -> str:
    return f"open({str(mark)!r}, 'w').close()"


def expression(mark: Path) -> str:
    return f"__import__('pathlib').Path({str(mark)!r}).touch()"


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 5)).eval()


@cache
def honest(kind: str) -> bytes:
    """A small honest file of each kind."""
    buffer, model = io.BytesIO(), net()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if kind == "pt2":
            program = torch.export.export(
                model, (torch.rand(2, 3, 8, 8),), dynamic_shapes=({0: torch.export.Dim.AUTO},)
            )
            torch.export.save(program, buffer)
        elif kind == "torchscript":
            torch.jit.save(torch.jit.trace(model, torch.rand(2, 3, 8, 8)), buffer)  # type: ignore[no-untyped-call]
        elif kind == "module":
            torch.save(model, buffer)
        elif kind == "state_dict":
            torch.save(model.state_dict(), buffer)
        elif kind == "safetensors":
            return bytes(safetensors_bytes(dict(model.state_dict())))
    return buffer.getvalue()


@cache
def legacy() -> bytes:
    """An honest state dict as torch wrote it before 1.6: pickles, then bytes."""
    buffer = io.BytesIO()
    torch.save(net().state_dict(), buffer, _use_new_zipfile_serialization=False)
    return buffer.getvalue()


def rewritten(
    content: bytes, changes: dict[str, bytes | None], path: Path, extra: dict[str, bytes] | None = None
) -> Path:
    """The archive with members replaced (below its top folder), dropped (None) or added."""
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(path, "w") as new:
        root = old.namelist()[0].split("/")[0]
        names = [name.split("/", 1)[1] for name in old.namelist()]
        for name in names:
            data = changes.get(name, old.read(f"{root}/{name}"))
            if data is not None:
                new.writestr(f"{root}/{name}", data)
        for name in changes.keys() - set(names):
            new.writestr(f"{root}/{name}", changes[name] or b"")
        for name, data in (extra or {}).items():
            new.writestr(name, data)
    return path


def member(content: bytes, name: str) -> bytes:
    with zipfile.ZipFile(io.BytesIO(content)) as file:
        return file.read(f"{file.namelist()[0].split('/')[0]}/{name}")


def saved(value: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


# ---- .pt2: what torch.export would evaluate --------------------------------------------------------------------------


def program(change: Callable[[dict[str, Any], Path], None]) -> Make:
    def make(folder: Path, mark: Path) -> Path:
        content = json.loads(member(honest("pt2"), "models/model.json"))
        change(content, mark)
        return rewritten(honest("pt2"), {"models/model.json": json.dumps(content).encode()}, folder / "model.pt2")

    return make


def _node(content: dict[str, Any]) -> dict[str, Any]:
    return content["graph_module"]["graph"]["nodes"][2]  # type: ignore[no-any-return]


def _target(name: str) -> Make:
    return program(lambda content, mark: _node(content).update(target=name))


def _string_call(content: dict[str, Any], mark: Path) -> None:
    argument = {"name": "command", "arg": {"as_string": f"touch {mark}"}, "kind": 1}
    _node(content).update(target="torch.os.system", inputs=[argument])


def _expression(text: str | None) -> Make:
    def change(content: dict[str, Any], mark: Path) -> None:
        for value in content["graph_module"]["graph"]["tensor_values"].values():
            for size in value["sizes"]:
                if "as_expr" in size:
                    size["as_expr"]["expr_str"] = text or expression(mark)

    return program(change)


def _node_name(content: dict[str, Any], mark: Path) -> None:
    bad = f"relu = {expression(mark)}; relu"
    text = json.dumps(content["graph_module"]["graph"]).replace('"name": "relu"', json.dumps({"name": bad})[1:-1])
    content["graph_module"]["graph"] = json.loads(text)


def _parameter_name(content: dict[str, Any], mark: Path) -> None:
    for spec in content["graph_module"]["signature"]["input_specs"]:
        if "parameter" in spec:
            spec["parameter"]["parameter_name"] = f'0"), {expression(mark)}, ("weight'


def _spec(which: str, change: Callable[[Any, Path], Any]) -> Make:
    def edit(content: dict[str, Any], mark: Path) -> None:
        signature = content["graph_module"]["module_call_graph"][0]["signature"]
        signature[which] = json.dumps([1, change(json.loads(signature[which])[1], mark)])

    return program(edit)


def _keywords(tree: Any, mark: Path) -> Any:
    tree["children_spec"][1]["context"] = json.dumps([f"x=({expression(mark)})"])
    tree["children_spec"][1]["children_spec"] = tree["children_spec"][0]["children_spec"]
    return tree


def _custom(content: dict[str, Any], mark: Path) -> None:
    argument = {"as_custom_obj": {"name": "x", "class_fqn": "__torch__.torch.classes.evil.Class"}}
    _node(content)["inputs"][0]["arg"] = argument


def _no_json(folder: Path, mark: Path) -> Path:
    return rewritten(honest("pt2"), {"models/model.json": b"[" * 100_000}, folder / "model.pt2")


# ---- .pt2: what torch.export would unpickle or load ------------------------------------------------------------------


def _member(name: str, value: Callable[[Path], bytes]) -> Make:
    return lambda folder, mark: rewritten(honest("pt2"), {name: value(mark)}, folder / "model.pt2")


def _payload(mark: Path) -> bytes:
    return saved({"x": Payload(mark)})


def _protocol_0(mark: Path) -> bytes:
    """A pickle that begins like a text."""
    return f'cbuiltins\nexec\n(S"{code(mark)}"\ntR.'.encode()


def _config(name: str, change: Callable[[dict[str, Any]], None], **members: Callable[[Path], bytes]) -> Make:
    def make(folder: Path, mark: Path) -> Path:
        content = json.loads(member(honest("pt2"), name))
        change(content["config"])
        added: dict[str, bytes | None] = {f"{name.rpartition('/')[0]}/{k}": v(mark) for k, v in members.items()}
        return rewritten(honest("pt2"), {name: json.dumps(content).encode(), **added}, folder / "model.pt2")

    return make


WEIGHTS, CONSTANTS = "data/weights/model_weights_config.json", "data/constants/model_constants_config.json"


def _constant(path_name: str) -> Callable[[dict[str, Any]], None]:
    entry = {"path_name": path_name, "is_param": False, "use_pickle": True, "tensor_meta": None}
    return lambda config: config.update(c=entry)


def _huge(config: dict[str, Any]) -> None:
    config["0.weight"]["tensor_meta"]["sizes"] = [{"as_int": 10**12}]


# ---- archives --------------------------------------------------------------------------------------------------------


def _extra(name: str, kind: str = "state_dict") -> Make:
    return lambda folder, mark: rewritten(honest(kind), {}, folder / "model.pt", {name: b"x"})


def _link(folder: Path, mark: Path) -> Path:
    path = rewritten(honest("state_dict"), {}, folder / "model.pt")
    with zipfile.ZipFile(path, "a") as file:
        entry = zipfile.ZipInfo("archive/link")
        entry.external_attr = 0o120777 << 16
        file.writestr(entry, "/etc/passwd")
    return path


def _patched(find: bytes, offset: int, value: bytes) -> Make:
    """Change bytes of the last directory entry."""

    def make(folder: Path, mark: Path) -> Path:
        content = bytearray(honest("state_dict"))
        at = content.rindex(find) + offset
        content[at : at + len(value)] = value
        path = folder / "model.pt"
        path.write_bytes(content)
        return path

    return make


def _bomb(folder: Path, mark: Path) -> Path:
    path = folder / "model.pt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file:
        file.writestr("archive/data.pkl", b"\0" * 2**20)
        for i in range(3):
            file.writestr(f"archive/data/{i}", b"\0" * 2**20)
    content = bytearray(path.read_bytes())
    at = -1
    while (at := content.find(b"PK\x01\x02", at + 1)) >= 0:
        content[at + 24 : at + 28] = struct.pack("<I", 2**32 - 2)
    path.write_bytes(content)
    return path


def _overlap(folder: Path, mark: Path) -> Path:
    path = rewritten(honest("state_dict"), {}, folder / "model.pt")
    content = bytearray(path.read_bytes())
    first = content.find(b"PK\x01\x02")
    second = content.find(b"PK\x01\x02", first + 1)
    content[second + 42 : second + 46] = content[first + 42 : first + 46]
    path.write_bytes(content)
    return path


def _doubled(name: str) -> Make:
    def make(folder: Path, mark: Path) -> Path:
        path = rewritten(honest("pt2"), {}, folder / "model.pt2")
        with warnings.catch_warnings(), zipfile.ZipFile(path, "a") as file:
            warnings.simplefilter("ignore")
            file.writestr(f"{file.namelist()[0].split('/')[0]}/{name}", _payload(mark))
        return path

    return make


def _bytes(change: Callable[[Path], bytes], name: str = "model.pt") -> Make:
    def make(folder: Path, mark: Path) -> Path:
        path = folder / name
        path.write_bytes(change(mark))
        return path

    return make


def _legacy(mark: Path) -> bytes:
    buffer = io.BytesIO()
    torch.save({"x": torch.zeros(1), "y": Payload(mark)}, buffer, _use_new_zipfile_serialization=False)
    return buffer.getvalue()


def _header(header: dict[str, Any], data: bytes = b"") -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def _script(line: str) -> Make:
    def make(folder: Path, mark: Path) -> Path:
        content = honest("torchscript")
        with zipfile.ZipFile(io.BytesIO(content)) as file:
            names = [n.split("/", 1)[1] for n in file.namelist()]
        name = next(n for n in names if n.endswith(".py") and "container" in n)
        text = member(content, name).decode().replace("    input", f"    {line.format(mark=mark)}\n    input", 1)
        return rewritten(
            content, {name: text.replace("def forward", f"# {line}\n  def forward", 1).encode()}, folder / "m.pt"
        )

    return make


def _expanded(mark: Path) -> bytes:
    return saved({"weight": torch.zeros(1).expand(10**12)})


RUNS_CODE: dict[str, Make] = {
    "target torch.os.system": program(_string_call),
    "target torch.load": _target("torch.load"),
    "target operator.attrgetter": _target("_operator.attrgetter"),
    "target builtins": _target("torch.ops.aten.__class__.__base__"),
    "target load_library": _target("torch.ops.load_library"),
    "target from_file": _target("torch.ops.aten.from_file.default"),
    "target unknown namespace": _target("torch.ops.evil.op.default"),
    "target triton": _target("torch.ops.higher_order.triton_kernel_wrapper_functional"),
    "target module attribute": _target("torch._higher_order_ops.wrap.itertools"),
    "size is code": _expression(None),
    "size is attribute": _expression("s0.func"),
    "size is call": _expression("Symbol('s0')(1)"),
    "size is tower of powers": _expression("9**9**9**9"),
    "size is huge power": _expression("Pow(Integer(9), Integer(9999999999))"),
    "size is factorial": _expression("99999999!"),
    "size is lambda": _expression("(lambda: 1)()"),
    "node name is code": program(_node_name),
    "parameter name is code": program(_parameter_name),
    "keyword is code": _spec("in_spec", _keywords),
    "input type imports": _spec("in_spec", lambda tree, mark: {**tree, "type": "collections.defaultdict"}),
    "output type imports": _spec(
        "out_spec",
        lambda tree, mark: {**tree, "type": "builtins.list", "context": '{"__enum__": true, "fqn": "this:x"}'},
    ),
    "output type unknown": _spec("out_spec", lambda tree, mark: {**tree, "type": "evil.Class"}),
    "custom object argument": program(_custom),
    "pickled sample inputs": _member("data/sample_inputs/model.pt", _payload),
    "bare pickle as sample inputs": _member("data/sample_inputs/model.pt", lambda m: pickle.dumps(Payload(m))),
    "pickled legacy weights": _member("data/weights/model.pt", _payload),
    "pickled legacy constants": _member("data/constants/model.pt", _payload),
    "second program": _member("data/sample_inputs/other.pt", _payload),
    "pickled weight": _config(WEIGHTS, lambda c: c["0.weight"].update(use_pickle=True), weight_0=_payload),
    "pickled weight, protocol 0": _config(
        WEIGHTS, lambda c: c["0.weight"].update(use_pickle=True), weight_0=_protocol_0
    ),
    "weight both raw and pickled": _config(
        WEIGHTS,
        lambda c: c.update(twin={**c["0.bias"], "path_name": "weight_1", "use_pickle": True}),
        weight_1=_payload,
    ),
    "pickled constant": _config(CONSTANTS, _constant("tensor_0"), tensor_0=_payload),
    "opaque constant": _config(CONSTANTS, _constant("opaque_obj_0"), opaque_obj_0=lambda m: pickle.dumps(Payload(m))),
    "script object constant": _config(CONSTANTS, _constant("custom_obj_0"), custom_obj_0=_payload),
    "pickled module": _bytes(lambda mark: honest("module")),
    "pickle in zip": _bytes(_payload),
    "pickle in zip named safetensors": _bytes(_payload, "model.safetensors"),
    "pickle in zip named pt2": _bytes(_payload, "model.pt2"),
    "legacy pickle": _bytes(_legacy),
    "plain pickle protocol 2": _bytes(lambda mark: pickle.dumps(Payload(mark), protocol=2)),
    "plain pickle protocol 5": _bytes(lambda mark: pickle.dumps(Payload(mark), protocol=5)),
    "plain pickle named safetensors": _bytes(lambda mark: pickle.dumps(Payload(mark)), "model.safetensors"),
    "script saves": _script('torch.save(input, "{mark}")'),
    "script reads": _script('torch.from_file("/etc/passwd", False, 10)'),
    "script calls unknown operators": _script("ops.evil.run(input)"),
    "script holds unknown class": _script("x : __torch__.torch.classes.evil.Class = input"),
}
"""Files that would run code or reach files: exit code 4."""

SCRIPT = """class M(Module):
  __parameters__ = []
  __buffers__ = []
  training : bool
  def __getstate__(self: __torch__.M) -> bool:
    return self.training
  def __setstate__(self: __torch__.M, state: bool) -> NoneType:
    torch.save(state, "{mark}")
    self.training = state
    return None
"""


def _script_beside_tensors(mark: Path) -> bytes:
    """Tensors for a reader of pickles; for `torch.load`, a TorchScript whose constants run code as they are read."""
    stream = io.BytesIO(saved(((torch.rand(2, 3, 8, 8),), {})))
    with zipfile.ZipFile(stream, "a") as file:
        file.writestr("archive/code/__torch__.py", SCRIPT.format(mark=mark))
        file.writestr("archive/constants.pkl", b"\x80\x02c__torch__\nM\n)\x81\x88b\x85.")
    return stream.getvalue()


UNRUN: dict[str, Make] = {
    "script in place of sample inputs": _member("data/sample_inputs/model.pt", _script_beside_tensors),
    "script in place of a weight": _config(
        WEIGHTS, lambda c: c["0.weight"].update(use_pickle=True), weight_0=_script_beside_tensors
    ),
    "script in place of all weights": _member("data/weights/model.pt", _script_beside_tensors),
}
"""Files of which a part that would run code is left out."""

BROKEN: dict[str, Make] = {
    "guarded root": lambda folder, mark: rewritten(
        honest("pt2"),
        {"models/model.json": b"{}"},
        folder / "m.pt2",
        {"version": b"8.1", "serialized_constants.pt": _payload(mark)},
    ),
    "compiled library": _member("data/aotinductor/model/x.so", lambda m: b"\x7fELF"),
    "weight larger than its record": _config(WEIGHTS, _huge, weight_0=lambda m: b""),
    "weight without record": _config(WEIGHTS, lambda c: c["0.weight"].update(path_name="../../x")),
    "config without sense": _member(WEIGHTS, lambda m: b'{"config": [1]}'),
    "deep json": _no_json,
    "no program": lambda f, m: rewritten(honest("pt2"), {"models/model.json": None}, f / "m.pt2"),
    "empty program": _member("models/model.json", lambda m: b"{}"),
    "doubled member": _doubled("data/sample_inputs/model.pt"),
    "doubled but for case": _doubled("data/sample_inputs/MODEL.pt"),
    "traversal": _extra("archive/../../x"),
    "absolute name": _extra("/x"),
    "backslash": _extra("archive\\..\\x"),
    "drive": _extra("c:/x"),
    "newline in name": _extra("archive/a\nb"),
    "link": _link,
    "encrypted": _patched(b"PK\x01\x02", 8, b"\x01\x00"),
    "unknown compression": _patched(b"PK\x01\x02", 10, b"\x63\x00"),
    "another size than declared": _patched(b"PK\x01\x02", 24, struct.pack("<I", 10**9)),
    "bomb": _bomb,
    "overlapping members": _overlap,
    "trailing bytes": _bytes(lambda m: honest("state_dict") + b"PK\x05\x06" + b"x" * 40),
    "truncated zip": _bytes(lambda m: honest("state_dict")[:-100]),
    "truncated pt2": _bytes(lambda m: honest("pt2")[:2000], "m.pt2"),
    "truncated script": _bytes(lambda m: honest("torchscript")[:3000]),
    "damaged weights": _bytes(lambda m: honest("state_dict").replace(b"OrderedDict", b"OrderedDuct")),
    "zip after zip": _bytes(lambda m: honest("pt2") + honest("pt2")),
    "empty zip": _bytes(lambda m: b"PK\x05\x06" + b"\0" * 18),
    "zip of text": lambda f, m: rewritten(honest("state_dict"), {"data.pkl": None}, f / "m.pt"),
    "endless tensor": _bytes(_expanded),
    "header of 2^62 bytes": _bytes(lambda m: struct.pack("<Q", 2**62) + b"{}", "m.safetensors"),
    "offsets past the end": _bytes(
        lambda m: _header({"w": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}), "m.safetensors"
    ),
    "shape unlike offsets": _bytes(
        lambda m: _header({"w": {"dtype": "F32", "shape": [10**12], "data_offsets": [0, 4]}}, b"\0" * 4),
        "m.safetensors",
    ),
    "header is no json": _bytes(lambda m: struct.pack("<Q", 4) + b"{{{{", "m.safetensors"),
    "truncated safetensors": _bytes(lambda m: honest("safetensors")[:-10], "m.safetensors"),
    "onnx": _bytes(lambda m: b"\x08\x08\x12\x07pytorch", "m.onnx"),
    "text": _bytes(lambda m: b"hello"),
    "web page": _bytes(lambda m: b"<!DOCTYPE html><html>"),
    "git-lfs pointer": _bytes(lambda m: b"version https://git-lfs.github.com/spec/v1\n"),
    "gzip": _bytes(lambda m: gzip.compress(honest("state_dict"))),
    "keras": _bytes(lambda m: b"\x89HDF\r\n\x1a\n"),
    "empty": _bytes(lambda m: b""),
    "noise": _bytes(lambda m: np.random.default_rng(0).bytes(3000)),
    "folder": lambda folder, mark: folder,
    "missing": lambda folder, mark: folder / "no.pt",
    "newline in path": lambda folder, mark: folder / "a\nb.pt",
    "nul in path": lambda folder, mark: folder / "a\0b.pt",
}
"""Files that are no model, or that no torch wrote: exit code 2."""
