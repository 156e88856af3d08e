"""`advisor.recommend`: the stages one after the other, and the answer made of what they found."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from torch import nn
from torch.export import ExportedProgram

from advisor import profilers
from advisor.advice import Advice
from advisor.columns import Profile
from advisor.computing.chosen_device import DEFAULT as ANY_DEVICE
from advisor.estimators.study.zone import ZoneThresholds
from advisor.graph import Granularity, PartitionGraph
from advisor.planning.advising import advise
from advisor.plans import Plan
from advisor.progress import RunListener
from advisor.request import Request
from advisor.requirement import Requirement


def recommend(
    model: nn.Module | ExportedProgram | PartitionGraph | str | Path,
    example_inputs: Any = None,
    device: str = profilers.DEFAULT_DEVICE,
    link: str = profilers.DEFAULT_LINK,
    cloud: str = profilers.DEFAULT_CLOUD,
    data: Any = None,
    train_data: Any = None,
    aux: Any = None,
    *,
    max_latency: float | str | None = None,
    max_accuracy_drop: float | str | None = None,
    max_ssim: float | str | None = None,
    min_nmse: float | str | None = None,
    max_edge_memory: float | str | None = None,
    requirements: Mapping[str | Requirement, float | str] | Iterable[tuple[str | Requirement, float | str]] = (),
    defenses: str = "free",
    recipe: str | None = None,
    cuts: str | None = None,
    effort: str = "standard",
    trials: int | None = None,
    timeout: float | str | None = None,
    memory: float | str | None = None,
    compute: str = ANY_DEVICE,
    storage: str | None = None,
    study: str | None = None,
    artifacts: str | Path | None = None,
    verify: str = "quick",
    attack_size: int | str | None = None,
    attacker_samples: int | str | None = None,
    task: str = "auto",
    scores: str | int | None = None,
    no_labels: bool = False,
    seed: int = 0,
    objective: str | Callable[[Plan], float] = "latency",
    confidence: float | None = None,
    require_split: bool = False,
    pictures: bool = False,
    arch: str | None = None,
    trust: bool | Callable[[str], bool] = False,
    input_shape: tuple[int, ...] | None = None,
    normalize: str = "auto",
    resize: int | None = None,
    max_tensors: int | None = None,
    granularity: Granularity | None = None,
    tail: str | None = None,
    profile: Profile | str | Path | None = None,
    earlier: Advice | str | Path | None = None,
    thresholds: ZoneThresholds | None = None,
    command: str = "",
    progress: RunListener | None = None,
    keep: Callable[[Advice], None] | None = None,
    **asked: float | str | None,
) -> Advice:
    """Recommend where to split a model and what to do to the tensor that is sent.

    Args:
        model: an nn.Module, a torch.export program, a traced graph, a model file, or `torchvision:name[@random]`.
        example_inputs: a tensor `[N, ...]`, or a tuple or dict of them; None where file, data or layers tell.
        device, link, cloud: keys of the catalog; `local` measures on this computer.
        data: `(x, y)` with images in [0, 1], a folder, an `.npz`, `.npy` or `.pt` file, "digits", or None to make some.
            Divided by a hash of each sample: validation 25 %, attacker 50 %, private 25 %; where a defense is trained
            training 40, validation 15, attacker 30, private 15. Of a file with a test and a training part the former.
        train_data: samples to train a defense on, instead of a part of `data`; of such a file the training part.
        aux: samples that the attacker learns from, likewise; "synthetic": it makes them up. A share of `data` is then
            kept for the final accuracy. A sample that two of them hold plays the first of these roles alone: training,
            validation, attacker, private, test.
        max_latency: seconds, edge + link + cloud, for one sample.
        max_accuracy_drop: absolute; 0.02 is two percentage points.
        max_ssim: highest structural similarity a strong inversion attack may reach, 0 to 1.
        min_nmse: lowest normalised error it must be left with, 0 to 1.
        max_edge_memory: bytes. Each of these also as text: "50ms", "2%", "1GiB".
        requirements: the same by name, `{"max_latency": 0.05}`, for any row of `advisor.REQUIREMENTS`; also a
            `Requirement` of your own, `[(Requirement(...), 5.0)]`, or `package.module:ROW`.
        asked: the other rows by keyword: `min_throughput="30/s"`, `max_bytes="4KiB"`, `max_edge_energy="20mJ"`, ….
        defenses: a set ("none", "free", "trained", "all") or names separated by commas, of payload defenses and of
            methods that are fitted (`advisor defenses` lists both).
        recipe: settings of what is fitted, `"width=8,stride=2,sigma=0.2..1"`.
        cuts: patterns of the cuts to look at, `"layer2*,layer3*"`; None for all.
        effort: "quick", "standard" or "thorough": at most about 3, 12 or 60 minutes on this machine, and 12, 40 or 120
            trials, unless `trials` says how many.
        trials: defended plans to price; undefended ones are all priced.
        timeout: seconds for the whole run: after them nothing new begins, and what was found is the answer.
        memory: bytes, or text as "3GB", that the run keeps to; None for what is free when it starts. Chunks, caches and
            samples follow it.
        compute: "auto" (a GPU where torch has one), "cpu", "cuda", "cuda:1" or "mps": where the model is
            run, attacks and fits are trained and leakage is estimated. The same seeds draw the same everywhere.
        storage: Optuna storage URL, or a journal file: a killed run resumes from it, and where it is a file, killed
            attacks from a folder beside it. The same call on other machines joins the study on a database they share.
        study: its name on the storage; None: the request itself, which then must be plain values.
        artifacts: a folder or `s3://bucket` that all workers reach, for fitted weights; None: beside the storage's
            file, or in the user's cache where it is a database.
        verify: "none", "quick" or "strong": the attack that is run on the plans that are shown.
        attack_size: pixels a side, or "native": the chosen plan is attacked once more, its images reconstructed at that
            size. What counts is the lesser of both. None: at the largest that the time of the effort
            allows, said before it starts; the score speaks of 32 pixels.
        attacker_samples: 400, 8000, "1e6": what an attacker of so many samples gets of the plan is told, from the quick
            attack with more and more of them, carried on along its learning curve; or that it is not known, and how
            many would do.
        task: "auto", "classes", "multilabel", "regression", "dense" or "ranking": how the output is judged.
        scores: name or number of the output that is judged, where the model has several; None chooses and says why.
        no_labels: leave labels of the data out.
        seed: same seed, same answer on the same machine.
        pictures: keep private inputs, and what attacks made of them, as pictures in the advice and its report.
        objective: what is to be best among the plans that meet everything: "latency", "nmse", "edge_memory" or any
            other row of `advisor.REQUIREMENTS`; or a function of a plan, whose number is to be least.
        confidence: of the interval whose unfavourable end must keep every limit; None: leakage by its 90 % interval,
            costs and accuracy by their value.
        require_split: never answer all-edge or all-cloud.
        arch: for a state dict, `package.module:factory`, with literal arguments in parentheses where it takes any.
        trust: run code from the model file; or a question to the user.
        input_shape: one sample's shape, when nothing tells.
        normalize: "auto", "none", "imagenet" or "mean=…,std=…".
        resize: pixels to which images are resized.
        max_tensors, granularity: which cuts are looked at, as in `advisor.trace`.
        profile: cost columns measured elsewhere (`advisor profile`), instead of `device`.
        tail: name of a cut after which the edge takes over again, so that the cloud sees no output (U-shaped plans).
        earlier: advice, or its folder, whose measurements are taken where they still apply.
        thresholds: what counts as private enough where no leakage budget is given.
        command: recorded as the command that reproduces the answer.
        progress: called with stage, share and what is being worked on.
        keep: called with the advice as soon as there is one, while Ctrl-C waits: it is saved here or may be lost.

    Raises:
        AdvisorError: bad input, in one line with the next step.
        InterruptedRunError: on Ctrl-C before there was anything to recommend. During the search and
            afterwards Ctrl-C ends the run early: the advice says so in `provenance["interrupted"]`.
    """
    request = Request.of(
        model=model, arch=arch, input_shape=input_shape, normalize=normalize, max_tensors=max_tensors,
        granularity=granularity, data=data, train_data=train_data, aux=aux, resize=resize, task=task, scores=scores,
        no_labels=no_labels, device=device, link=link, cloud=cloud, profile=profile, tail=tail,
        requirements=requirements, max_latency=max_latency, max_accuracy_drop=max_accuracy_drop,
        max_ssim=max_ssim, min_nmse=min_nmse, max_edge_memory=max_edge_memory, defenses=defenses, recipe=recipe,
        cuts=cuts, effort=effort, trials=trials, timeout=timeout, memory=memory, compute=compute, storage=storage,
        study=study, artifacts=artifacts, verify=verify, attack_size=attack_size, attacker_samples=attacker_samples,
        seed=seed, thresholds=thresholds,
        objective=objective, confidence=confidence, require_split=require_split, pictures=pictures, **asked,
    )  # fmt: skip
    return advise(request, example_inputs, trust=trust, earlier=earlier, command=command, progress=progress, keep=keep)
