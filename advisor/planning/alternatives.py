"""Plans that stand beside the chosen one in every report: other aims, other formats, another device."""

from __future__ import annotations

import dataclasses
import io
import math
from collections.abc import Container, Iterator, Sequence

import torch
from torch import Tensor

from advisor import profilers
from advisor.batches import first_scores
from advisor.defenses import DEFENSES, NoDefense
from advisor.errors import AdvisorError
from advisor.estimate import Estimate
from advisor.planning.alternative_roles import ELSEWHERE
from advisor.planning.evaluation import PlanEvaluator
from advisor.planning.selection import Choice, LeakageLimits, rank, with_excess
from advisor.plans import Plan
from advisor.profilers import Device, transfer_time
from advisor.profilers.energy import edge_energy
from advisor.profilers.halves.half_latency import total
from advisor.requirements import Budgets

JPEG_QUALITY = 90
FORMATS = ("fp16", "int8")
"""How activations are sent where nothing else is done to them."""
MODES = {1: "L", 3: "RGB"}


def alternatives(
    evaluator: PlanEvaluator, plans: tuple[Plan, ...], chosen: Choice, limits: LeakageLimits, budgets: Budgets
) -> dict[str, Plan]:
    """Role -> plan: fastest private, most private, formats of inputs and activations, the next device up.

    Args:
        evaluator: prices them.
        plans: every split that was priced and verified.
        chosen: the verdict.
        limits, budgets: what was asked.
    """
    found = dict(by_aim(plans, limits, evaluator.study.zone.cuts))
    priced = [*_inputs(evaluator), *_activations(evaluator, chosen), *_next_device(evaluator, chosen)]
    return found | {role: with_excess(plan, budgets, limits) for role, plan in priced}


def by_aim(plans: Sequence[Plan], limits: LeakageLimits, zone: Container[str]) -> Iterator[tuple[str, Plan]]:
    """Of the plans that were priced, the best by other aims than the objective."""
    feasible = [plan for plan in plans if plan.feasible]
    private = [plan for plan in feasible if not limits.shortfall(plan)]
    if private:
        yield "fastest private", min(private, key=lambda plan: _known(plan.predicted["latency"].value, math.inf))
    if feasible:
        yield "most private", max(feasible, key=lambda plan: _known(plan.leakage("score").value, -math.inf))
    inside = [plan for plan in feasible if plan.places[0] in zone]
    if inside:
        yield "best in the golden zone", min(inside, key=lambda plan: rank(plan, limits.best_in))


def _known(value: float, otherwise: float) -> float:
    return otherwise if math.isnan(value) else value


# ---- as people send inputs ---------------------------------------------------------------------------------------


def _inputs(evaluator: PlanEvaluator) -> Iterator[tuple[str, Plan]]:
    """Images as one byte a value and as JPEG; nothing where the input is no image in [0, 1]."""
    images = as_bytes(evaluator.evaluation)
    if images is None:
        return
    count = images[0].numel()
    one = Estimate.exact(count, "B", "measured", "one byte a value")
    yield "all in the cloud, uint8", _in_the_cloud(evaluator, one, images)
    sizes, decoded = jpeg(images)
    method = f"JPEG at quality {JPEG_QUALITY}, {len(sizes)} samples"
    yield "all in the cloud, JPEG", _in_the_cloud(evaluator, Estimate.of_mean(sizes, "B", method), decoded)


def as_bytes(inputs: tuple[Tensor, ...]) -> Tensor | None:
    """Images `[N, C, H, W]` in [0, 1] as uint8; None where the input is something else."""
    if len(inputs) != 1 or inputs[0].dim() != 4 or inputs[0].shape[1] not in MODES:
        return None
    x = inputs[0]
    if x.dtype == torch.uint8:
        return x
    if not x.is_floating_point() or float(x.min()) < -1e-6 or float(x.max()) > 1 + 1e-6:
        return None
    return (255 * x.float()).round().clamp(0, 255).to(torch.uint8)


def jpeg(images: Tensor, quality: int = JPEG_QUALITY) -> tuple[list[float], Tensor]:
    """Bytes of each image as a JPEG file, and what is decoded of it.

    Args:
        images: uint8 `[N, C, H, W]` with one or three channels.
        quality: of PIL's encoder, 1 to 95.
    """
    import numpy as np
    from PIL import Image

    sizes, decoded = [], []
    for image in images:
        buffer = io.BytesIO()
        plain = image.permute(1, 2, 0).squeeze(-1).numpy()
        Image.fromarray(plain).save(buffer, "JPEG", quality=quality)
        sizes.append(float(len(buffer.getvalue())))
        back = torch.from_numpy(np.asarray(Image.open(buffer)).copy())
        decoded.append(back.unsqueeze(0) if back.dim() == 2 else back.permute(2, 0, 1))
    return sizes, torch.stack(decoded)


def _in_the_cloud(evaluator: PlanEvaluator, sent: Estimate, images: Tensor) -> Plan:
    """All-cloud with another size of the input; accuracy is that of the model on what arrives."""
    graph, link = evaluator.graph, evaluator.link
    plain = evaluator.costs(graph.cuts[0], NoDefense())
    answer = graph.cuts[-1].bytes
    on_link = [
        transfer_time(link, size, answer, evaluator.device.copy_rate) for size in (sent.value, sent.low, sent.high)
    ]
    time = dataclasses.replace(on_link[0], low=min(t.low for t in on_link), high=max(t.high for t in on_link))
    latency = total([plain["edge_latency"], time, plain["cloud_latency"]])
    energy = edge_energy(evaluator.edge, link, plain["edge_latency"], sent.value, answer)
    predicted = plain | {"bytes": sent, "link_latency": time, "latency": latency, "edge_energy": energy}
    predicted |= _accuracy(evaluator, images)
    why = "the input itself is sent"
    predicted |= {name: Estimate.exact(v, "1", "measured", why) for name, v in (("score", 0.0), ("score_ssim", 1.0))}
    return Plan((graph.cuts[0],), NoDefense(), predicted, kind="all-cloud", inputs=graph.inputs, graph=graph)


def _accuracy(evaluator: PlanEvaluator, images: Tensor) -> dict[str, Estimate]:
    if evaluator.undefended.why_not:
        return evaluator.undefended.undefended()
    given = evaluator.evaluation[0]
    arrived = images.to(given.dtype) if given.dtype == torch.uint8 else images.to(given.dtype) / 255
    outputs = first_scores(evaluator.graph, (arrived,))
    return evaluator.undefended.of(outputs) if outputs is not None else evaluator.undefended.undefended()


# ---- as people send activations ----------------------------------------------------------------------------------


def _activations(evaluator: PlanEvaluator, chosen: Choice) -> Iterator[tuple[str, Plan]]:
    """The best split's cut with nothing done but a smaller format."""
    split = chosen.best_split
    if split is None or split.graph is not evaluator.graph or split.cut.undefendable is not None:
        return
    for name in FORMATS:
        yield f"best split's cut, {name} alone", evaluator.evaluate(split.cut, DEFENSES[name]())


# ---- the next device up ------------------------------------------------------------------------------------------


def _next_device(evaluator: PlanEvaluator, chosen: Choice) -> Iterator[tuple[str, Plan]]:
    """The verdict's plan on the slowest device of the catalog that is faster; none where the device was measured."""
    best, faster = chosen.best, next_device(evaluator.device)
    if best is None or faster is None or best.graph is not evaluator.graph or best.kind == "all-cloud":
        return
    try:
        costs = profilers.profile(evaluator.graph, faster, evaluator.link, evaluator.profile.provenance["cloud"]["key"])
    except (AdvisorError, KeyError, TypeError):  # no published latency supports it there: it is no alternative
        return
    there = dataclasses.replace(evaluator, profile=evaluator.profile.joined(costs), device=faster)
    priced = there.costs(best.cut, best.defense, best.tail)
    if best.kind != "split":
        priced["bytes"] = best.predicted["bytes"]
    yield f"{ELSEWHERE}{faster.name}", dataclasses.replace(best, predicted=best.predicted | priced)


def next_device(device: Device) -> Device | None:
    """The edge device of the same runtime and precision with the next higher peak rate; None where there is none."""
    if not math.isfinite(device.peak) or device.calibration or device.name == profilers.LOCAL:
        return None
    rows = []
    for row in profilers.devices():
        try:
            found = profilers.device(f"{row.name}:{device.runtime}:{device.precision}")
        except AdvisorError:  # it does not have this runtime
            continue
        if found.kind == "edge" and found.peak > 1.05 * device.peak:
            rows.append(found)
    return min(rows, key=lambda row: (row.peak, row.key), default=None)
