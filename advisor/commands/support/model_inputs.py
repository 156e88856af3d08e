"""A model file and its data as a traced graph and samples, for the commands that measure one thing."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from advisor.commands.support import options
from advisor.commands.support.exits import say
from advisor.commands.support.near_names import check_given, check_model_is_there
from advisor.commands.support.outputs import writable
from advisor.commands.support.stage_progress import StageProgress
from advisor.commands.support.trust_prompt import trust

if TYPE_CHECKING:
    from advisor.data.samples import Samples
    from advisor.graph import PartitionGraph
    from advisor.planning.stages import Traced
    from advisor.request import Request


@dataclass(frozen=True, eq=False)
class Given:
    """What a command measures.

    Attributes:
        graph: the traced model, which knows its task.
        samples: as it takes them.
        aux: what the attacker learns from, likewise; "synthetic": it makes them up; None: a part of the samples.
        source: fingerprint of the samples before they were divided by role.
    """

    graph: PartitionGraph
    samples: Samples
    aux: Samples | str | None = None
    source: str = ""


@dataclass(frozen=True)
class Wanted:
    """What the user said of the model and its data, as text.

    Attributes:
        model: file or name.
        arch, input_shape, normalize, data, aux: as the options of those names.
        resize: pixels a side.
        trusted: whether --trust was given.
        seed: of the draw of samples.
        max_tensors, granularity: which cuts are looked at; None: those of one tensor, after every operation.
        sha256: where a file names the model: which bytes it must hold; else "".
        task, scores: how the output is judged, and which.
        no_labels: whether labels of the data are left out.
        train_data: as the option of that name.
    """

    model: str
    arch: str | None = None
    trusted: bool = False
    input_shape: str | None = None
    normalize: str = "auto"
    data: str | None = None
    resize: int | None = None
    seed: int = 0
    max_tensors: int | None = None
    granularity: str | None = None
    sha256: str = ""
    task: str = "auto"
    scores: str | None = None
    no_labels: bool = False
    aux: str | None = None
    train_data: str | None = None

    def __post_init__(self) -> None:
        check_model_is_there(self.model)
        check_given((self.data, self.train_data, self.aux), self.arch)

    def graph(self, progress: StageProgress) -> PartitionGraph:
        """The traced model; what was assumed is printed.

        Raises:
            AdvisorError: when it cannot be loaded or traced.
        """
        traced = self._traced(self._request(), progress)
        _print(traced.all_notes)
        return traced.graph

    def given(self, progress: StageProgress, check: Callable[[PartitionGraph], object] = lambda graph: None) -> Given:
        """The traced model and its samples, synthetic ones where no data is given; what was assumed is printed.

        Args:
            progress: told of each stage.
            check: called with the graph before samples are made, to refuse what it does not have.

        Raises:
            AdvisorError: when either cannot be used.
        """
        from advisor.planning.preparing.data_roles import converted
        from advisor.planning.preparing.preparing_samples import samples_of

        request = self._request()
        traced = self._traced(request, progress)
        check(traced.graph)
        graph, samples, notes = samples_of(request, traced, progress)
        _print((*traced.all_notes, *notes))
        own = traced.inputs.aux
        aux = self.aux if own is None else converted(own, graph, request.data, self.seed)[1]
        return Given(graph, samples, aux, samples.fingerprint)

    def unseen(self, progress: StageProgress, seed: int) -> Given:
        """What a fit has not seen: the samples that are private in the advice, and the attacker's own.

        Args:
            progress: told of each stage.
            seed: of the advice, by which its samples were divided.

        Raises:
            AdvisorError: when they cannot be used, or are too few.
        """
        from advisor.planning.preparing.preparing_samples import prepare

        request = dataclasses.replace(self, seed=seed)._request("trained")
        prepared = prepare(request, self._traced(request, progress), progress)
        _print(prepared.all_notes)
        roles = prepared.roles
        return Given(prepared.graph, roles["private"], roles["attacker"], prepared.source.fingerprint)

    def _request(self, defenses: str = "none") -> Request:
        from advisor.request import Request

        return Request.of(
            model=self.model, arch=self.arch, input_shape=options.sizes(self.input_shape, "--input-shape"),
            normalize=self.normalize, max_tensors=self.max_tensors, granularity=self.granularity, data=self.data,
            train_data=self.train_data, defenses=defenses, aux=self.aux, resize=self.resize, task=self.task,
            scores=self.scores, no_labels=self.no_labels, seed=self.seed,
        )  # fmt: skip

    def _traced(self, request: Request, progress: StageProgress) -> Traced:
        from advisor.planning.preparing.load_and_trace import load, trace
        from advisor.recorded import Source

        recorded = Source(self.model, self.sha256) if self.sha256 else None
        return trace(request, load(request, progress, trust=trust(self.trusted, progress), recorded=recorded), progress)


def result_file(out: Path, name: str) -> Path:
    """Where a result goes: `--out` itself when it names a .json file, else a file in that folder; surely writable.

    Raises:
        AdvisorError: when it cannot be written.
    """
    from advisor.columns import is_profile

    path = out if out.suffix == ".json" else out / name
    writable(path.parent, {path.name: is_profile})
    return path


def _print(notes: Iterable[str]) -> None:
    for note in dict.fromkeys(notes):
        say(f"Note: {note}")
