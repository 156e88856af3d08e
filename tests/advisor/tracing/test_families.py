"""Families that people bring: transformers' models (where installed), from configuration with random weights."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from advisor.errors import TraceError
from advisor.tracing.tracer import trace
from tests.models import equal

transformers = pytest.importorskip("transformers")

SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
GPT2 = {"vocab_size": 50, "n_positions": 16, "n_embd": 32, "n_layer": 2, "n_head": 2, "bos_token_id": 0}


def text(rows: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(rows)
    mask = torch.ones(rows, 9, dtype=torch.long)
    mask[::2, 6:] = 0
    return {"input_ids": torch.randint(0, 50, (rows, 9), generator=generator), "attention_mask": mask}


def pixels(rows: int) -> dict[str, Tensor]:
    return {"pixel_values": torch.rand(rows, 3, 32, 32, generator=torch.Generator().manual_seed(rows))}


def bert() -> nn.Module:
    return transformers.BertModel(transformers.BertConfig(**SMALL, vocab_size=50, max_position_embeddings=16))


def vit() -> nn.Module:
    return transformers.ViTForImageClassification(transformers.ViTConfig(**SMALL, image_size=32, patch_size=8))


def gpt2(cache: bool = False) -> nn.Module:
    return transformers.GPT2LMHeadModel(transformers.GPT2Config(**GPT2, use_cache=cache))


@pytest.mark.parametrize(("make", "inputs"), [(bert, text), (vit, pixels), (gpt2, text)])
def test_inputs_by_name_and_outputs_of_their_own_type(make: Any, inputs: Any) -> None:
    torch.manual_seed(0)
    model = make().eval()
    graph = trace(model, inputs(2))
    assert len(graph.cuts) > 4
    for rows in (1, 3):
        with torch.no_grad():
            expected = model(**inputs(rows))
            assert equal(graph(inputs(rows)), expected)
            for cut in graph.cuts:
                edge, cloud = graph.split(cut)
                found = cloud(edge(**inputs(rows)))
                assert type(found) is type(expected)
                assert equal(found, expected), cut.name


def test_a_cache_in_the_output_is_refused_with_the_setting() -> None:
    with pytest.raises(TraceError, match=r"object of type DynamicCache.*Set model\.config\.use_cache = False"):
        trace(gpt2(cache=True).eval(), text(2))
