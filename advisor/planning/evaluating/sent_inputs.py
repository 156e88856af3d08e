"""All in the cloud as people do it: images sent as one byte a value, or as JPEG measured on the samples."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from advisor import wire
from advisor.batches import first_scores
from advisor.defenses import NoDefense
from advisor.estimate import Estimate
from advisor.planning.evaluating.evaluation import PlanEvaluator
from advisor.plans import Form, Plan
from advisor.profilers import transfer_time
from advisor.profilers.energy import edge_energy
from advisor.profilers.halves.half_latency import total
from advisor.profilers.throughput import on_wire, pipeline

JPEG_QUALITY = 90
CHANNELS = (1, 3)
PART = 64
"""Images that are held as floating-point numbers once more."""


def sent_inputs(evaluator: PlanEvaluator) -> tuple[Plan, ...]:
    """All-cloud plans, one a form; none where the input is no image in [0, 1]."""
    return tuple(plan for form in FORMS if (plan := sent_as(evaluator, form)) is not None)


def sent_as(evaluator: PlanEvaluator, form: Form) -> Plan | None:
    """All-cloud with inputs in one of `FORMS`; None where the input is no image in [0, 1]."""
    images = as_bytes(evaluator.evaluation)
    if images is None or form not in FORMS:
        return None
    size, arrives = FORMS[form](images)
    return _in_the_cloud(evaluator, form, size, arrives)


def arrived(inputs: tuple[Tensor, ...], form: Form) -> tuple[Tensor, ...]:
    """What the cloud has of inputs `[N, ...]` that were sent in a form; as they are where there is no such form."""
    images = as_bytes(inputs) if form in FORMS else None
    return inputs if images is None else (_scaled(FORMS[form](images)[1], inputs[0]),)


def as_bytes(inputs: tuple[Tensor, ...]) -> Tensor | None:
    """Images `[N, C, H, W]` in [0, 1] as uint8; None where the input is something else."""
    if len(inputs) != 1 or inputs[0].dim() != 4 or inputs[0].shape[1] not in CHANNELS:
        return None
    x = inputs[0]
    if x.dtype == torch.uint8:
        return x
    if not x.is_floating_point() or float(x.min()) < -1e-6 or float(x.max()) > 1 + 1e-6:
        return None
    found = torch.empty(x.shape, dtype=torch.uint8, device=x.device)
    for part, room in zip(torch.split(x, PART), torch.split(found, PART), strict=True):
        room.copy_((255 * part.float()).round().clamp(0, 255))
    return found


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


def _bytes(images: Tensor) -> tuple[Estimate, Tensor]:
    size = images[0].numel() + wire.overhead([images.dim()])
    return Estimate.exact(size, "B", "measured", "one byte a value, header included"), images


def _jpeg(images: Tensor) -> tuple[Estimate, Tensor]:
    sizes, decoded = jpeg(images)
    sent, how = [size + wire.overhead([1]) for size in sizes], f"JPEG at quality {JPEG_QUALITY}, header included"
    return Estimate.of_mean(sent, "B", f"{how}, {len(sizes)} samples"), decoded


FORMS: Mapping[Form, Callable[[Tensor], tuple[Estimate, Tensor]]] = {"uint8": _bytes, "JPEG": _jpeg}
"""Form, as `Plan.sends` names it -> of images: bytes of the message that carries one, and what arrives."""


def _in_the_cloud(evaluator: PlanEvaluator, form: Form, sent: Estimate, images: Tensor) -> Plan:
    """All-cloud with another size of the input; accuracy is that of the model on what arrives."""
    graph, link, copies = evaluator.graph, evaluator.link, evaluator.device.copy_rate
    plain, answer = evaluator.costs(graph.cuts[0], NoDefense()), graph.cuts[-1].message_bytes
    on_link = [transfer_time(link, size, answer, copies) for size in (sent.value, sent.low, sent.high)]
    time = dataclasses.replace(on_link[0], low=min(t.low for t in on_link), high=max(t.high for t in on_link))
    wire = on_wire(link, sent.value, answer, copies)
    predicted = plain | {
        "bytes": sent, "link_latency": time, "latency": total([plain["edge_latency"], time, plain["cloud_latency"]]),
        "edge_energy": edge_energy(evaluator.edge, link, plain["edge_latency"], sent.value, answer),
        "throughput": pipeline((plain["edge_latency"], wire, plain["cloud_latency"])),
    }  # fmt: skip
    predicted |= _accuracy(evaluator, images)
    why = "the input itself is sent"
    predicted |= {name: Estimate.exact(v, "1", "measured", why) for name, v in (("score", 0.0), ("score_ssim", 1.0))}
    return Plan(
        (graph.cuts[0],), NoDefense(), predicted, kind="all-cloud", inputs=graph.inputs, graph=graph, sends=form
    )


def _accuracy(evaluator: PlanEvaluator, images: Tensor) -> dict[str, Estimate]:
    if evaluator.undefended.why_not:
        return evaluator.undefended.undefended()
    like = evaluator.evaluation[0]
    outputs = [first_scores(evaluator.graph, (_scaled(part, like),)) for part in torch.split(images, PART)]
    known = [part for part in outputs if part is not None]
    if len(known) < len(outputs):
        return evaluator.undefended.undefended()
    return evaluator.undefended.of(torch.cat(known))


def _scaled(images: Tensor, like: Tensor) -> Tensor:
    """Bytes as the model takes them."""
    return images if like.dtype == torch.uint8 else images.to(like.dtype) / 255
