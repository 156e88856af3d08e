"""A model file and its data as a traced graph and samples, for the commands that measure one thing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from advisor.commands import options as given
from advisor.commands.exits import say
from advisor.commands.near_names import check_model_is_there
from advisor.commands.outputs import writable
from advisor.commands.progress import StageProgress
from advisor.commands.trust_prompt import trust

if TYPE_CHECKING:
    from advisor.data.image_folder import ImageFolder
    from advisor.data.samples import Samples
    from advisor.graph import PartitionGraph
    from advisor.planning.pipeline import Run


@dataclass(frozen=True)
class Wanted:
    """What the user said of the model and its data, as text.

    Attributes:
        model: file or name.
        arch, input_shape, normalize, data: as the options of those names.
        resize: pixels a side.
        trusted: whether --trust was given.
        seed: of the draw of samples.
        max_tensors, granularity: which cuts are looked at; None: those of one tensor, after every operation.
        sha256: where a file names the model: which bytes it must hold; else "".
        task, scores: how the output is judged, and which.
        no_labels: whether labels of the data are left out.
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

    def __post_init__(self) -> None:
        check_model_is_there(self.model)

    def graph(self, progress: StageProgress) -> PartitionGraph:
        """The traced model; what was assumed is printed.

        Raises:
            AdvisorError: when it cannot be loaded or traced.
        """
        graph, _, run = self._traced(progress)
        _print(run)
        return graph

    def graph_and_samples(
        self, progress: StageProgress, check: Callable[[PartitionGraph], object] = lambda graph: None
    ) -> tuple[PartitionGraph, Samples]:
        """The traced model and its samples, synthetic ones where no data was given; what was assumed is printed.

        Args:
            progress: told of each stage.
            check: called with the graph before samples are made, to refuse what it does not have.

        Raises:
            AdvisorError: when either cannot be used.
        """
        from advisor.planning.pipeline import fit_or_make_samples, with_task

        graph, found, run = self._traced(progress)
        check(graph)
        samples = fit_or_make_samples(run, graph, found, self.resize, self.seed)
        graph, samples = with_task(run, graph, samples, self.task, self.scores, made=found is None)
        _print(run)
        return graph, samples

    def _traced(self, progress: StageProgress) -> tuple[PartitionGraph, Samples | ImageFolder | None, Run]:
        from advisor.planning.pipeline import Run, load_inputs, trace_model
        from advisor.recorded import Source, check_hash

        shape = given.sizes(self.input_shape, "--input-shape")
        run, permission = Run(progress), trust(self.trusted, progress)
        loaded, found = load_inputs(
            run,
            self.model,
            None,
            self.data,
            self.arch,
            permission,
            shape,
            self.resize,
            self.seed,
            not self.no_labels,
        )
        if self.sha256:
            check_hash(Source(self.model, self.sha256), loaded.sha256)
        cuts = (self.max_tensors, self.granularity)
        return trace_model(run, loaded, self.model, None, self.normalize, *cuts), found, run


def result_file(out: Path, name: str) -> Path:
    """Where a result goes: `--out` itself when it names a .json file, else a file in that folder; surely writable.

    Raises:
        AdvisorError: when it cannot be written.
    """
    from advisor.columns import is_profile

    path = out if out.suffix == ".json" else out / name
    writable(path.parent, {path.name: is_profile})
    return path


def _print(run: Run) -> None:
    for note in dict.fromkeys(run.assumptions):
        say(f"Note: {note}")
