"""What prices a plan for a release gate, without a leakage study."""

from __future__ import annotations

import math
from pathlib import Path

import torch

from advisor import profilers
from advisor.columns import Profile
from advisor.data.roles import Roles
from advisor.data.samples import Samples
from advisor.estimators.study.leakage_study import repeated
from advisor.estimators.study.study_samples import study_samples
from advisor.graph import PartitionGraph
from advisor.planning.evaluating.evaluation import PlanEvaluator
from advisor.planning.evaluating.plan_attacks import pack
from advisor.planning.evaluating.u_shape import tail_cut
from advisor.planning.fits.variant_pricing import of_fit
from advisor.planning.release.release_subject import Subject
from advisor.planning.stages import Prepared, Step, step
from advisor.plans import Plan
from advisor.profilers.support import imported_profile as given_profiles
from advisor.progress import RunListener, about
from advisor.request import Request
from advisor.variant import Variant

CATALOG = {"device": profilers.DEFAULT_DEVICE, "cloud": profilers.DEFAULT_CLOUD, "profile": None}
"""For what does not depend on a machine, where times cannot be told."""


def release_evaluator(
    plan: Plan, opened: Subject, prepared: Prepared | None, progress: RunListener | None
) -> PlanEvaluator:
    """What prices a plan, without a leakage study: the payload's own is measured instead.

    Raises:
        AdvisorError: where the plan holds fitted weights that are gone, or that belong to other weights of the model.
    """
    assert opened.request is not None
    assert opened.traced is not None
    request, graph = opened.request, opened.traced.graph if prepared is None else prepared.graph
    roles = _no_roles(graph) if prepared is None else prepared.roles
    with step("cost", progress) as now:
        cost = _priced(request if opened.priced else request.changed(**CATALOG), graph, now)
    private, own, seed = roles["private"], roles["attacker"], request.search.seed
    samples = study_samples(graph, private.x, private.labels, own.x, own.labels, seed)
    nothing = repeated(graph, samples, Profile(graph.cuts, {}), {}, seed=seed, baseline=math.nan)
    target = request.target
    base = PlanEvaluator(
        graph, cost, nothing, roles, profilers.device(target.device), profilers.link(target.link), seed,
        tail_cut(graph, target.tail),
    )  # fmt: skip
    if plan.fitted is None:
        return base
    variant = plan.graph
    if not isinstance(variant, Variant) or variant.base.digest != graph.digest:
        variant = plan.fitted.spliced_again(graph, plan.folder, plan.cut)
    return of_fit(base, variant, plan.fitted)


def _no_roles(graph: PartitionGraph) -> Roles:
    """Zeros in each role: costs do not depend on them."""
    zeros = tuple(torch.zeros((2, *spec.shape), dtype=getattr(torch, spec.dtype)) for spec in graph.inputs.tensors)
    nobody = Samples(pack(graph, zeros), None, "zeros", "")
    return Roles({"validation": nobody, "attacker": nobody, "private": nobody})


def _priced(request: Request, graph: PartitionGraph, now: Step) -> Profile:
    """The cost columns; those of a given profile win."""
    target, given = request.target, request.target.profile
    cost = profilers.profile(graph, target.device, target.link, target.cloud, progress=about(now, "cost"))
    if given is None:
        return cost
    measured = Profile.load(given) if isinstance(given, str | Path) else given
    given_profiles.check(measured.provenance, graph)
    return given_profiles.joined(cost, measured)
