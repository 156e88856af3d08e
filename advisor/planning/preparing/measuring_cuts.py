"""The last stage before the search: what every cut costs and leaks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from advisor import profilers
from advisor.advice import Advice
from advisor.columns import Profile
from advisor.errors import InterruptedRunError
from advisor.estimators.study.leakage_study import LeakageStudy, study
from advisor.estimators.study.symmetries import said_forgotten
from advisor.planning.evaluating.cut_patterns import chosen_cuts
from advisor.planning.evaluating.evaluation import PlanEvaluator
from advisor.planning.evaluating.plan_accuracy import EVALUATION_SAMPLES
from advisor.planning.evaluating.u_shape import tail_cut
from advisor.planning.fits.wanted_fits import wanted_fits
from advisor.planning.judging.bare_accuracy import said_of_the_model
from advisor.planning.preparing import reuse
from advisor.planning.preparing.contradictions import check_budgets
from advisor.planning.preparing.stored_study import stored_study
from advisor.planning.preparing.study_identity import joined
from advisor.planning.preparing.wanted_defenses import wanted_defenses
from advisor.planning.shared_study.fitted_store import store_of
from advisor.planning.shared_study.results import Results
from advisor.planning.shared_study.study_storage import attack_folder, open_storage
from advisor.planning.stages import Measured, Prepared, Step, step
from advisor.planning.timing import machine_speed
from advisor.planning.timing.time_limits import plan_time
from advisor.planning.timing.time_plan import UNBOUNDED, TimePlan
from advisor.profilers.support import imported_profile as given_profiles
from advisor.progress import RunListener, about, of_stage
from advisor.request import Request
from advisor.requirements import objective


def measure(
    request: Request, prepared: Prepared, progress: RunListener | None = None, started: float | None = None
) -> Measured:
    """What every cut costs and leaks, taken from earlier advice where that still applies; how good the model itself is.

    Args:
        request, prepared, progress: as for the other stages.
        started: `time.monotonic()` at the start of a run that keeps to its effort's time; None: as long as it takes.

    Raises:
        InterruptedRunError: on Ctrl-C; with the cost columns, once they are known.
    """
    target = request.target
    edge, wire = profilers.device(target.device), profilers.link(target.link)
    costed = reuse.Target(edge, wire, profilers.device(target.cloud))
    with step("cost", progress) as pricing:
        cost, notes = _cost(request, prepared, costed, pricing)
    try:
        check_budgets(request, cost, wire)
        return _leaking(request, prepared, costed, cost, notes, pricing.seconds, progress, started)
    except KeyboardInterrupt:  # beside the steps, each of which handles its own
        raise InterruptedRunError("leakage", cost) from None


def _leaking(
    request: Request, prepared: Prepared, costed: reuse.Target, cost: Profile, notes: Sequence[str],
    priced_in: Mapping[str, float], progress: RunListener | None, started: float | None,
) -> Measured:  # fmt: skip
    """What every cut leaks, beside what it costs."""
    seed = request.search.seed
    before, said = reuse.still_applies(prepared, seed, taken=reuse.COST_TAKEN in notes)
    graph = prepared.graph
    limits = UNBOUNDED
    if started is not None:
        limits = _time_plan(request, prepared, started, before is not None)
    results = Results(open_storage(request.search.storage))
    name = joined(request, prepared, results) if results.shared else ""
    limits = limits.agreed(results, name) if results.shared else limits
    if started is not None:
        of_stage(progress, "plan")(1.0, limits.sentence(request.search.effort, len(graph.cuts)))
    with step("leakage", progress, cost) as studying:
        found, more = _leakage(request, prepared, cost, before, studying, limits, results)
        evaluator = PlanEvaluator(
            graph, cost.joined(found.profile), found, prepared.roles, costed.device, costed.link, seed,
            tail_cut(graph, request.target.tail),
            attack_folder(request.search.storage), chosen_cuts(graph, request.search.cuts), limits.rows,
            also_asked(request), results,
        )  # fmt: skip
        of_the_model = said_of_the_model(evaluator.undefended)
    kept = before is not None and request.output.pictures and reuse.LEAKAGE_TAKEN in more
    return Measured(
        prepared=prepared, cost=cost, evaluator=evaluator, before=before,
        gallery=before.gallery if kept and before else None,
        notes=(*notes, *said, *more, *of_the_model), time=limits, study=name,
        seconds={**priced_in, **studying.seconds},
    )  # fmt: skip


def _time_plan(request: Request, prepared: Prepared, started: float, taken: bool) -> TimePlan:
    graph, roles = prepared.graph, prepared.roles
    private, own = graph.flat(roles["private"].x), len(graph.flat(roles["attacker"].x)[0])
    speed = machine_speed.measured(graph, private)
    rows = min(len(graph.flat(roles["validation"].x)[0]), EVALUATION_SAMPLES)
    methods = wanted_defenses(request.search.defenses).methods
    fits = wanted_fits(request.search, graph, methods, len(roles["training"])) if methods else None
    return plan_time(request, graph, private, own, rows, speed, started, taken, fits)


def also_asked(request: Request) -> tuple[str, ...]:
    """Leakage columns beside the score that a requirement or the objective rests on."""
    rows = [row for row, _ in request.requirements] + [objective(request.search.objective)]
    return tuple(dict.fromkeys(row.measurement for row in rows if row.measurement in ("label_leak", "mse_bound")))


def _cost(request: Request, prepared: Prepared, target: reuse.Target, now: Step) -> tuple[Profile, list[str]]:
    """The cost columns, and what was assumed; those of a given profile win."""
    given, graph, notes = request.target.profile, prepared.graph, list[str]()
    measured = Profile.load(given) if isinstance(given, str | Path) else given
    cost = reuse.cost(prepared, target) if measured is None else None
    if cost is not None:
        notes.append(reuse.COST_TAKEN)
    else:
        if measured is not None:
            given_profiles.check(measured.provenance, graph)
        cost = profilers.profile(graph, target.device, target.link, target.cloud, progress=about(now, "cost"))
    if measured is not None:
        cost = given_profiles.joined(cost, measured)
        names = ", ".join(given_profiles.taken(measured))
        notes.append(f"Cost columns were taken from the given profile: {names}.")
    rows = [cost.provenance.get(key, {}) for key in ("device", "link", "cloud")]
    notes += [f"{row['key']}: {row['stands_for']}." for row in rows if row.get("stands_for")]
    notes += cost.provenance.get("cost", {}).get("notes", [])
    types = sorted({spec.dtype for cut in graph.cuts[1:-1] for spec in cut.tensors})
    if types:
        kinds = " and ".join(types)
        notes.append(f"Messages are counted in {kinds}, header included; the table of cuts has the activation alone.")
    return cost, notes


def _leakage(
    request: Request, prepared: Prepared, cost: Profile, before: Advice | None, now: Step, limits: TimePlan,
    results: Results,
) -> tuple[LeakageStudy, list[str]]:  # fmt: skip
    """The leakage study, and what was assumed; taken from earlier advice where that has the same cuts."""
    graph, roles, search = prepared.graph, prepared.roles, request.search
    found = None if before is None else reuse.leakage(prepared, before, cost, search.thresholds, search.seed)
    notes = [] if found is None else [reuse.LEAKAGE_TAKEN]

    def compute() -> LeakageStudy:
        private, own = roles["private"], roles["attacker"]
        return study(
            graph, private.x, private.labels, own.x, own.labels, thresholds=search.thresholds, seed=search.seed,
            progress=now, allowance=limits.allowance,
        )  # fmt: skip

    if found is None:
        store = store_of(request) if results.shared and not request.output.pictures else None  # pictures leave nothing
        found = (
            compute()
            if store is None
            else stored_study(results, store, prepared, search.thresholds, search.seed, limits.allowance.cuts, compute)
        )
    if found.targets.note != "inputs as given":
        notes.append(f"Reconstruction: {found.targets.note}.")
    if forgotten := said_forgotten(graph, found.samples.inputs, search.seed):
        notes.append(forgotten)
    return found, notes
