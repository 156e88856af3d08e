"""Inputs as people send them, activations in their formats, the next device up."""

from __future__ import annotations

import io
import math

import numpy as np
import torch
from PIL import Image

from advisor import profilers
from advisor.planning.evaluating.sent_inputs import as_bytes, jpeg
from advisor.planning.selecting.alternatives import devices_above


def images(count: int = 3, channels: int = 3) -> torch.Tensor:
    return torch.randint(0, 256, (count, channels, 16, 12), generator=torch.Generator().manual_seed(0)).to(torch.uint8)


def test_images_in_0_to_1_are_bytes_and_nothing_else_is() -> None:
    x = images()
    assert torch.equal(as_bytes((x.float() / 255,)), x)
    assert as_bytes((x,)) is x
    assert as_bytes((2 * x.float(),)) is None
    assert as_bytes((x.float() / 255 - 0.5,)) is None
    assert as_bytes((x.float() / 255, x)) is None
    assert as_bytes((torch.rand(3, 5),)) is None
    assert as_bytes((torch.rand(3, 7, 4, 4),)) is None


def test_a_jpeg_is_as_long_as_pils_and_decodes_to_what_it_shows() -> None:
    for channels in (1, 3):
        x = images(channels=channels)
        sizes, decoded = jpeg(x)
        assert decoded.shape == x.shape
        for image, count, back in zip(x, sizes, decoded, strict=True):
            file = io.BytesIO()
            Image.fromarray(image.permute(1, 2, 0).squeeze(-1).numpy()).save(file, "JPEG", quality=90)
            assert count == len(file.getvalue())
            shown = torch.from_numpy(np.array(Image.open(file)))
            assert torch.equal(back, shown[None] if channels == 1 else shown.permute(2, 0, 1))


def test_a_smooth_picture_is_smaller_as_jpeg() -> None:
    smooth = (torch.arange(64)[None, None, None].expand(1, 3, 64, 64) * 4).to(torch.uint8)
    assert jpeg(smooth)[0][0] < smooth.numel() / 4


def test_the_next_device_up_is_faster_and_nothing_lies_between() -> None:
    own = profilers.device("jetson")
    faster = devices_above(own)[0]
    assert (faster.runtime, faster.precision, faster.kind) == (own.runtime, own.precision, "edge")
    assert faster.peak > own.peak
    between = [row for row in profilers.devices() if row.runtime == own.runtime and own.peak < row.peak < faster.peak]
    assert all(row.kind != "edge" or row.peak <= 1.05 * own.peak or row.precision != own.precision for row in between)


def test_a_device_that_is_measured_has_no_next_one() -> None:
    assert devices_above(profilers.device("local")) == []
    assert math.isnan(profilers.device("local").peak)
