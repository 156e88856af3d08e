"""A fitted defense as a file, `defenses/DIGEST.safetensors`: what a variant holds and its base does not.

The file is named by the SHA-256 of its bytes, which hold the base's digest, the recipe with the fingerprint of the data
and the seed, and the weights. Encoder and decoder are in it as operations, so that a method of the user's own is loaded
without its code.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass
from torch import Tensor
from torch.utils import _pytree as pytree

from advisor.batches import carried
from advisor.cuts import TensorSpec
from advisor.defenses.training.operations_as_data import PartRows, part_of, rows_of
from advisor.errors import AdvisorError, first_line
from advisor.files import read_bytes, write_atomically
from advisor.fitted import ENDING, FOLDER, LARGEST
from advisor.graph import PartitionGraph
from advisor.support.documents import parse_json
from advisor.support.schemas import first_problem
from advisor.variant import Variant, differing, spliced
from advisor.variant_parts import VariantParts

LARGEST_HEADER = 16 * 2**20
LARGEST_VALUE = 2**31
"""Elements of anything that encoder or decoder compute from the base's example batch."""
KEY = "fitted"

PLACES = ("encoder", "decoder", "edge", "cloud")
Hash = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Name = Annotated[str, Field(max_length=500)]
Scalar = bool | int | float | Annotated[str, Field(max_length=1000)] | None
Setting = Scalar | Annotated[list[Scalar], Field(max_length=1000)]


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class FittedHeader:
    """What the file says of its tensors.

    Attributes:
        schema: of this description.
        version: of the program that wrote it.
        base: digest of the graph that it was fitted to.
        at: name of the cut of the base.
        recipe: method, settings, seed, fingerprint of the data, and what training gave.
        notes: what should be said beside it.
        encoder, decoder: as operations.
        answers: whether the decoder gives the model's outputs.
    """

    schema: Literal[1]
    version: Annotated[str, Field(max_length=50)]
    base: Hash
    at: Name
    recipe: Annotated[dict[Annotated[str, Field(pattern=r"^[A-Za-z_]\w{0,99}$")], Setting], Field(max_length=200)]
    notes: Annotated[list[Annotated[str, Field(max_length=2000)]], Field(max_length=50)]
    encoder: PartRows
    decoder: PartRows
    answers: bool = False


_HEADER = TypeAdapter(FittedHeader)


def save_variant(variant: Variant, folder: str | Path) -> Path:
    """Write what a variant holds and its base does not.

    Args:
        variant: fitted, or made by `variant_of`.
        folder: gets `defenses/DIGEST.safetensors`; DIGEST is the SHA-256 of the file.

    Returns:
        The file. One that is there already is left as it is.

    Raises:
        AdvisorError: when the folder cannot be written, holds another file of that name, or the encoder or decoder
            computes with something that a file may not hold.
    """
    data = _packed(variant)
    path = Path(folder) / FOLDER / f"{hashlib.sha256(data).hexdigest()}{ENDING}"
    if path.exists() and read_bytes(path, LARGEST) != data:
        raise AdvisorError(f"{path} is there, and was changed since it was written.", "Remove it.")
    if not path.exists():
        write_atomically(path, data)
    return path


def variant_digest(variant: Variant) -> str:
    """The name under which `save_variant` writes it, without its ending.

    Raises:
        AdvisorError: as `save_variant`.
    """
    return hashlib.sha256(_packed(variant)).hexdigest()


def load_variant(path: str | Path, base: PartitionGraph) -> Variant:
    """The variant that a file holds, its outputs equal to the saved one's bit for bit.

    Args:
        path: as `save_variant` gave it.
        base: the graph that it was made of.

    Raises:
        AdvisorError: when the file was changed or is of another model, or does not describe an encoder and a decoder.
    """
    path = Path(path)
    data = read_bytes(path, LARGEST)
    if hashlib.sha256(data).hexdigest() != path.stem or path.suffix != ENDING:
        raise AdvisorError(f"{path} is not what was written: its name is not its SHA-256.", "Fit the defense again.")
    header = _header(data, path)
    if header.base != base.digest:
        raise AdvisorError(
            f"{path} was fitted to another model ({header.base[:12]}, this one is {base.digest[:12]}).",
            "Pass the model that it was fitted to, or fit the defense again.",
        )
    try:
        variant = _rebuilt(header, _tensors(data), base)
    except AdvisorError as error:
        raise AdvisorError(f"{path} does not fit the model: {error.problem}", "Fit the defense again.") from error
    except Exception as error:  # torch raises anything on operations that do not fit each other
        raise AdvisorError(f"{path} holds no usable defense: {first_line(error)}.", "Fit the defense again.") from error
    return dataclasses.replace(variant, notes=(*base.notes, *header.notes))


def fitted_in(folder: str | Path, key: str) -> Path | None:
    """The file in `folder/defenses` of the fit of this key, or None; see `defending.fit_key`.

    A file that is no fitted defense is passed over; what is found is checked when it is loaded.
    """
    for path in sorted((Path(folder) / FOLDER).glob(f"*{ENDING}")):
        try:
            if _header(read_bytes(path, LARGEST), path).recipe.get("fit") == key:
                return path
        except AdvisorError:
            continue
    return None


# ---- bytes ---------------------------------------------------------------------------------------------------------


def _packed(variant: Variant) -> bytes:
    from safetensors.torch import save

    parts = variant.parts
    held: dict[str, Mapping[str, Tensor]] = {
        "encoder": parts.encoder.constants, "decoder": parts.decoder.constants,
        "edge": parts.edge_weights, "cloud": parts.cloud_weights,
    }  # fmt: skip
    tensors = {
        f"{place}/{name}": tensor.detach().cpu().contiguous().clone()
        for place, own in held.items()
        for name, tensor in own.items()
    }
    try:
        return bytes(save(tensors, {KEY: _described(variant)}))
    except (ValueError, TypeError, AttributeError) as error:  # AttributeError: a constant that is no tensor
        raise AdvisorError(
            f"The defense at {variant.at!r} cannot be kept in a file: {first_line(error)}.",
            "Write its encoder and decoder with plain tensor operations, and its recipe with plain values.",
        ) from None


def _described(variant: Variant) -> str:
    header = FittedHeader(
        1, version("partition-advisor"), variant.base.digest, variant.at, plain(variant.recipe),
        list(variant.notes[len(variant.base.notes) :]), rows_of(variant.parts.encoder), rows_of(variant.parts.decoder),
        variant.answers,
    )  # fmt: skip
    return json.dumps(_HEADER.dump_python(header, mode="json"), sort_keys=True, separators=(",", ":"))


def plain(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe as JSON holds it: tuples are lists."""
    found: dict[str, Any] = json.loads(json.dumps(dict(recipe), allow_nan=False))
    return found


def _header(data: bytes, path: Path) -> FittedHeader:
    """The description in a file of ours; hostile until it fits the schema."""
    size = int.from_bytes(data[:8], "little")
    if not 2 <= size <= min(LARGEST_HEADER, len(data) - 8):
        raise AdvisorError(f"{path} is no safetensors file.", "Name a file in a folder `defenses`.")
    said = parse_json(data[8 : 8 + size], path)
    metadata = said.get("__metadata__") if isinstance(said, dict) else None
    text = metadata.get(KEY) if isinstance(metadata, dict) else None
    if not isinstance(text, str):
        raise AdvisorError(f"{path} holds no fitted defense.", "Name a file in a folder `defenses`.")
    try:
        return _HEADER.validate_python(parse_json(text, path))
    except ValidationError as error:
        raise AdvisorError(
            f"{path} is no fitted defense of this version: {first_problem(error)}.", "Fit the defense again."
        ) from None


def _tensors(data: bytes) -> dict[str, dict[str, Tensor]]:
    from safetensors.torch import load

    found: dict[str, dict[str, Tensor]] = {place: {} for place in PLACES}
    for key, value in load(data).items():
        place, _, name = key.partition("/")
        if place not in found or not name:
            raise ValueError(f"it holds a tensor {key[:60]!r} of no part")
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise ValueError(f"its tensor {key[:60]!r} holds what is no number")
        found[place][name] = value
    return found


# ---- the variant again ---------------------------------------------------------------------------------------------


def _rebuilt(header: FittedHeader, held: Mapping[str, Mapping[str, Tensor]], base: PartitionGraph) -> Variant:
    encoder, decoder = part_of(header.encoder, held["encoder"]), part_of(header.decoder, held["decoder"])
    for part, place in ((encoder, "encoder"), (decoder, "decoder")):
        if unread := held[place].keys() - part.constants.keys():
            raise ValueError(f"nothing reads its tensor {min(unread)[:60]!r}")
    edge, cloud = (differing(base, held[place]) for place in ("edge", "cloud"))
    variant = spliced(
        base, base.cut(header.at), VariantParts(encoder, decoder, edge, cloud, header.answers), header.recipe
    )
    _check_sizes(variant)
    _check_rows(variant)
    return variant


def _check_sizes(variant: Variant) -> None:
    """Nothing that a file describes may need more memory than any model would."""
    for node in (node for nodes in variant.added.values() for node in nodes):
        for leaf in pytree.tree_leaves(node.meta["val"]):
            count = (
                math.prod(variant.size_of(size, variant.batch) for size in leaf.shape)
                if isinstance(leaf, Tensor)
                else 0
            )
            if count > LARGEST_VALUE:
                raise ValueError(f"{node.target} would compute {count:,} numbers")


def _check_rows(variant: Variant) -> None:
    """A sample alone is encoded, and decoded, as within a batch."""
    draw = torch.Generator().manual_seed(0)
    for start, stop in ((variant.cut(variant.at), variant.payload), (variant.payload, variant.cuts[-1])):
        entering = [_drawn(spec, variant.batch, draw) for spec in start.tensors]
        together, alone = (
            carried(variant, [t[:rows] for t in entering], start.index, stop.index) for rows in (variant.batch, 1)
        )
        for whole, first in zip(together, alone, strict=True):
            if whole.is_floating_point() and not torch.allclose(whole[:1], first, rtol=1e-3, atol=1e-4, equal_nan=True):
                raise ValueError("what it gives of a sample depends on the others of its batch")


def _drawn(spec: TensorSpec, rows: int, draw: torch.Generator) -> Tensor:
    """An activation: normal numbers; a mask that hides nothing, ids that exist."""
    made, dtype = torch.randn((rows, *spec.shape), generator=draw), getattr(torch, spec.dtype)
    return made.to(dtype) if spec.is_floating else torch.ones_like(made).to(dtype)
