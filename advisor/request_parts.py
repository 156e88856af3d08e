"""The parts of a request, each with its own checks: model, data, target, search, machine, output."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, PlainSerializer
from pydantic.dataclasses import dataclass

from advisor.computing.chosen_device import DEFAULT as ANY_DEVICE
from advisor.computing.chosen_device import check_name
from advisor.errors import AdvisorError
from advisor.requirements import checked_confidence, objective
from advisor.support.recipe_text import read_recipe
from advisor.support.safe_text import without_secrets
from advisor.task import check_kind
from advisor.units import duration, samples, size

IN_PYTHON = "given in Python"
"""What a file says of what is no JSON: a model, samples or a profile in memory."""

EFFORTS = {"quick": 12, "standard": 40, "thorough": 120}
"""How hard to search -> trials, where these are not given."""

VERIFICATIONS = ("none", "quick", "strong")
SOURCES = ("data", "train_data", "aux")
"""Where samples come from: keywords that name what is read."""
NATIVE = "native"
SMALLEST_SIDE, LARGEST_SIDE = 8, 2**16
"""Sizes of pictures that an attack may reconstruct, in pixels a side."""

OBJECTS = ConfigDict(arbitrary_types_allowed=True)


def recorded(value: Any) -> Any:
    """A path, a name or an address as it is recorded, its secrets cut; any other object as "given in Python"."""
    if value is None:
        return None
    return without_secrets(str(value)) if isinstance(value, str | Path) else IN_PYTHON


def _objective_recorded(value: Any) -> Any:
    return value if isinstance(value, str) else IN_PYTHON


Source = Annotated[Any, PlainSerializer(recorded)]
"""A path or a name, or the thing itself, which no file can hold."""
Address = Annotated[str, BeforeValidator(lambda v: str(v) if isinstance(v, Path) else v), PlainSerializer(recorded)]
Whole = Annotated[int, Field(strict=True)]


def _at_least(name: str, value: int, least: int) -> None:
    if value < least:
        raise AdvisorError(f"{name} is {str(value)[:60]!r}.", f"It is a whole number from {least}.")


def _one_of(name: str, value: Any, known: Iterable[str]) -> None:
    if value not in tuple(known):
        raise AdvisorError(f"There is no {name} {value!r}.", f"Use {_or(known)}.")


def check_attack_size(text: str) -> None:
    """Refuse what is no size of pictures.

    Raises:
        AdvisorError: on anything but native and a number of pixels from 8.
    """
    pixels = int(text) if text.isascii() and text.isdecimal() and len(text) < 9 else 0
    if text != NATIVE and not SMALLEST_SIDE <= pixels <= LARGEST_SIDE:
        raise AdvisorError(
            f"An attack size of {text[:40]!r} makes no sense.", f"Use native, or pixels from {SMALLEST_SIDE}."
        )


def _or(names: Iterable[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} or {last}"


@dataclass(frozen=True, config=OBJECTS)
class ModelPart:
    """The model and how it is read.

    Attributes:
        model: a file, `torchvision:name`, or the model itself.
        arch: what builds the model of a state dict; code, so never taken from a file.
        input_shape: one sample's shape, when nothing tells.
        normalize: "auto", "none", "imagenet" or "mean=…,std=…".
        max_tensors, granularity: which cuts are looked at.
    """

    model: Source
    arch: str | None = None
    input_shape: tuple[int, ...] | None = None
    normalize: str = "auto"
    max_tensors: Whole | None = None
    granularity: Literal["op", "layer", "block"] | None = None

    def __post_init__(self) -> None:
        if self.input_shape is not None and not all(size > 0 for size in self.input_shape):
            raise AdvisorError(
                f"The input shape {self.input_shape} has a size below 1.", "State it as --input-shape 3,224,224."
            )
        if self.max_tensors is not None:
            _at_least("max_tensors", self.max_tensors, 1)


@dataclass(frozen=True, config=OBJECTS)
class DataPart:
    """The samples.

    Attributes:
        data: a folder, a file, "digits", the samples themselves, or None to make some.
        train_data: likewise, for defenses that are trained; None: a part of `data`.
        aux: likewise, what the attacker learns from; "synthetic": it makes them up; None: a part of `data`.
        resize: pixels to which images are resized.
        task: "auto", or how the output is judged.
        scores: name or number of the output that counts; None chooses.
        no_labels: leave labels of the data out.
    """

    data: Source = None
    train_data: Source = None
    aux: Source = None
    resize: Whole | None = None
    task: str = "auto"
    scores: Annotated[str | None, BeforeValidator(lambda v: str(v) if isinstance(v, int) else v)] = None
    no_labels: bool = False

    def __post_init__(self) -> None:
        check_kind(self.task)
        if self.resize is not None:
            _at_least("resize", self.resize, 1)


@dataclass(frozen=True, config=OBJECTS)
class TargetPart:
    """Where the model is to run.

    Attributes:
        device, link, cloud: keys of the catalog, files, or addresses.
        profile: cost columns measured elsewhere: a file, or the profile itself.
        tail: name of the cut after which the edge takes over again.
    """

    device: Address = "jetson"
    link: Address = "wifi"
    cloud: Address = "t4"
    profile: Source = None
    tail: str | None = None


@dataclass(frozen=True, config=OBJECTS)
class SearchPart:
    """How plans are looked for and judged.

    Attributes:
        objective: quantity that is to be best among the plans that meet every requirement; or a function of a plan,
            whose number is to be least.
        confidence: of the interval whose unfavourable end must keep every limit, 0 to 1; None: leakage by its 90 %
            interval, costs and accuracy by their value.
        require_split: leave all-edge and all-cloud out.
        defenses: a set, or names separated by commas; of payload defenses and of methods that are fitted.
        recipe: settings of what is fitted, `width=8,stride=2,sigma=0.2..1`.
        cuts: patterns of names, `layer2*,layer3*`: no other cut is looked at.
        effort: "quick", "standard" or "thorough": how long a run may take, and how many trials where `trials` is None.
        trials: defended plans to price.
        timeout: seconds for the whole run.
        storage: Optuna storage URL, or a journal file, that a killed search resumes from and other machines join.
        study: name of the study on it; None: named by what the request asks for.
        artifacts: folder or `s3://bucket` that fitted weights are shared by; None: beside the storage's file.
        verify: "none", "quick" or "strong": the attack that is run on the plans that are shown.
        attack_size: pixels a side, or "native", at which the chosen plan is attacked once more; None: as large as
            the time of the effort allows.
        attacker_samples: what an attacker of so many samples would get of the plan is told; None asks nothing.
        seed: same seed, same answer.
        thresholds: what counts as private enough where no leakage budget is given; None for the usual.
    """

    objective: Annotated[Any, PlainSerializer(_objective_recorded)] = "latency"
    confidence: float | None = None
    require_split: bool = False
    defenses: str = "free"
    recipe: str | None = None
    cuts: str | None = None
    effort: str = "standard"
    trials: Whole | None = None
    timeout: Annotated[float | None, BeforeValidator(lambda v: None if v is None else duration(v))] = None
    storage: Source = None
    study: str | None = None
    artifacts: Source = None
    verify: str = "quick"
    attack_size: Annotated[str | None, BeforeValidator(lambda v: str(v) if isinstance(v, int) else v)] = None
    attacker_samples: Annotated[int | None, BeforeValidator(lambda v: None if v is None else samples(v))] = None
    seed: Whole = 0
    thresholds: Source = None

    def __post_init__(self) -> None:
        if self.objective != IN_PYTHON:  # as a file says it; whoever needs it asks again
            objective(self.objective)
        checked_confidence(self.confidence)
        read_recipe(self.recipe)
        _one_of("effort", self.effort, EFFORTS)
        _one_of("verification", self.verify, VERIFICATIONS)
        if self.attack_size is not None:
            check_attack_size(self.attack_size)
        _at_least("seed", self.seed, 0)
        if self.trials is not None:
            _at_least("trials", self.trials, 1)

    @property
    def count(self) -> int:
        """Defended plans to price."""
        return EFFORTS[self.effort] if self.trials is None else self.trials


@dataclass(frozen=True, config=OBJECTS)
class MachinePart:
    """What this computer may give the run.

    Attributes:
        memory: bytes; None for what is free when it starts.
        compute: "auto", "cpu", "cuda", "cuda:1" or "mps": where tensors are computed.
    """

    memory: Annotated[int | None, BeforeValidator(lambda v: None if v is None else int(size(v)))] = None
    compute: str = ANY_DEVICE

    def __post_init__(self) -> None:
        check_name(self.compute)


@dataclass(frozen=True, config=OBJECTS)
class OutputPart:
    """Where the answer goes.

    Attributes:
        out: the folder, or None where the caller keeps the answer.
        pictures: keep private inputs, and what attacks made of them, as pictures.
    """

    out: Source = None
    pictures: bool = False
