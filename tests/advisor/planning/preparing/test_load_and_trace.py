"""What a user stated of the model is doubted first where the model cannot be traced so."""

from __future__ import annotations

import pytest
from torch import nn

from advisor.errors import TraceError
from advisor.planning.preparing.load_and_trace import load, trace
from advisor.request import Request


def test_a_stated_shape_with_the_batch_is_doubted() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten())
    request = Request.of(model=model, input_shape=(1, 3, 8, 8))
    with pytest.raises(TraceError, match=r"Is 1,3,8,8 one input, without the batch\? If so: "):
        trace(request, load(request))
