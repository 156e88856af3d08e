"""transformers, from small configurations with random weights: their outputs are dataclasses of their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from zoo_entries import Entry, arrays, tokens

VOCABULARY, LENGTH = 100, 12
SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
USE_CACHE = "use_cache = False"  # the refusal of a model that returns its cache names this setting
TEXT = {**SMALL, "vocab_size": VOCABULARY, "max_position_embeddings": 32}


def text(n: int) -> dict[str, Tensor]:
    """Ids and a mask that hides the tail of every other sample."""
    mask = torch.ones(n, LENGTH, dtype=torch.long)
    mask[::2, LENGTH - 3 :] = 0
    return {"input_ids": tokens(VOCABULARY, LENGTH)(n), "attention_mask": mask}


def ids(n: int) -> dict[str, Tensor]:
    """Ids only."""
    return {"input_ids": tokens(VOCABULARY, LENGTH)(n)}


def named(name: str, *shape: int) -> Callable[[int], dict[str, Tensor]]:
    """One array by keyword."""
    return lambda n: {name: arrays(*shape)(n)}


def families() -> list[Entry]:
    """The families that people ask for first."""
    return [*_encoders(), *_decoders(), *_vision(), *_audio()]


def _entry(
    name: str, model: str, config: str, inputs: Callable[[int], Any], refused: str = "", **options: Any
) -> Entry:
    def make() -> nn.Module:
        import transformers

        made = getattr(transformers, config)(**options)
        return getattr(transformers, model)(made)

    return Entry(name, make, inputs, refused=refused)


def _encoders() -> list[Entry]:
    distil = {
        "vocab_size": VOCABULARY,
        "max_position_embeddings": 32,
        "dim": 32,
        "n_layers": 2,
        "n_heads": 2,
        "hidden_dim": 64,
    }
    t5 = {"vocab_size": VOCABULARY, "d_model": 32, "d_kv": 16, "d_ff": 64, "num_layers": 2, "num_heads": 2}
    deberta = {**TEXT, "relative_attention": True, "pos_att_type": ["p2c", "c2p"]}
    return [
        _entry("bert", "BertModel", "BertConfig", text, **TEXT),
        _entry("bert_classifier", "BertForSequenceClassification", "BertConfig", text, **TEXT),
        _entry("distilbert", "DistilBertForSequenceClassification", "DistilBertConfig", text, **distil),
        _entry("roberta", "RobertaModel", "RobertaConfig", text, **TEXT),
        _entry("albert", "AlbertModel", "AlbertConfig", text, **TEXT, embedding_size=16),
        _entry("electra", "ElectraModel", "ElectraConfig", text, **TEXT, embedding_size=16),
        _entry("mpnet", "MPNetModel", "MPNetConfig", text, **TEXT),
        _entry("deberta_v2", "DebertaV2Model", "DebertaV2Config", text, **deberta),
        _entry("t5_encoder", "T5EncoderModel", "T5Config", text, **t5),
    ]


def _decoders() -> list[Entry]:
    gpt2 = {
        "vocab_size": VOCABULARY,
        "n_positions": 32,
        "n_embd": 32,
        "n_layer": 2,
        "n_head": 2,
        "bos_token_id": 0,
        "eos_token_id": 0,
    }
    t5 = {"vocab_size": VOCABULARY, "d_model": 32, "d_kv": 16, "d_ff": 64, "num_layers": 2, "num_heads": 2}

    def both(n: int) -> dict[str, Tensor]:
        return {"input_ids": tokens(VOCABULARY, LENGTH)(n), "decoder_input_ids": tokens(VOCABULARY, 5, seed=1)(n)}

    return [
        _entry("gpt2", "GPT2LMHeadModel", "GPT2Config", ids, **gpt2, use_cache=False),
        _entry("gpt2_mask", "GPT2Model", "GPT2Config", text, **gpt2, use_cache=False),
        _entry("gpt2_cache", "GPT2LMHeadModel", "GPT2Config", ids, USE_CACHE, **gpt2),
        _entry("llama", "LlamaForCausalLM", "LlamaConfig", text, **TEXT, use_cache=False),
        _entry("llama_cache", "LlamaForCausalLM", "LlamaConfig", ids, USE_CACHE, **TEXT),
        _entry(
            "opt",
            "OPTForCausalLM",
            "OPTConfig",
            text,
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            ffn_dim=64,
            vocab_size=VOCABULARY,
            max_position_embeddings=32,
            word_embed_proj_dim=32,
            use_cache=False,
        ),
        _entry("qwen2", "Qwen2ForCausalLM", "Qwen2Config", text, **TEXT, num_key_value_heads=1, use_cache=False),
        _entry("t5", "T5Model", "T5Config", both, **t5, use_cache=False),
        _entry("t5_cache", "T5Model", "T5Config", both, USE_CACHE, **t5),
    ]


def _vision() -> list[Entry]:
    image = {**SMALL, "image_size": 32, "patch_size": 8}
    swin = {"image_size": 32, "patch_size": 4, "embed_dim": 16, "depths": [2, 2], "num_heads": [2, 2], "window_size": 4}
    pixels = named("pixel_values", 3, 32, 32)
    return [
        _entry("vit", "ViTForImageClassification", "ViTConfig", pixels, **image),
        _entry("deit", "DeiTModel", "DeiTConfig", pixels, **image),
        _entry("dinov2", "Dinov2Model", "Dinov2Config", pixels, **image),
        _entry("clip_vision", "CLIPVisionModel", "CLIPVisionConfig", pixels, **image),
        _entry("swin", "SwinModel", "SwinConfig", pixels, **swin),
        _entry(
            "convnext", "ConvNextModel", "ConvNextConfig", pixels, hidden_sizes=[8, 16, 16, 16], depths=[1, 1, 1, 1]
        ),
        _entry("resnet", "ResNetModel", "ResNetConfig", pixels, embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1]),
        _entry("mobilevit", "MobileViTModel", "MobileViTConfig", named("pixel_values", 3, 64, 64), image_size=64),
        _entry(
            "segformer",
            "SegformerForSemanticSegmentation",
            "SegformerConfig",
            named("pixel_values", 3, 64, 64),
            depths=[1, 1, 1, 1],
            hidden_sizes=[8, 16, 16, 16],
            num_attention_heads=[1, 1, 2, 2],
            decoder_hidden_size=16,
        ),
    ]


def _audio() -> list[Entry]:
    whisper = {
        "d_model": 32,
        "encoder_layers": 2,
        "encoder_attention_heads": 2,
        "encoder_ffn_dim": 64,
        "max_source_positions": 20,
        "num_mel_bins": 80,
    }
    wav2vec = {
        **SMALL,
        "vocab_size": 20,
        "conv_dim": (16, 16),
        "conv_kernel": (10, 3),
        "conv_stride": (5, 2),
        "num_conv_pos_embeddings": 16,
        "num_conv_pos_embedding_groups": 2,
    }

    def encoder() -> nn.Module:
        from transformers import WhisperConfig, WhisperModel

        return WhisperModel(
            WhisperConfig(**whisper, decoder_layers=1, decoder_attention_heads=2, decoder_ffn_dim=64)
        ).get_encoder()

    return [
        Entry("whisper_encoder", encoder, named("input_features", 80, 40)),
        _entry("wav2vec2", "Wav2Vec2Model", "Wav2Vec2Config", named("input_values", 800), **wav2vec),
        _entry("hubert", "HubertModel", "HubertConfig", named("input_values", 800), **wav2vec),
        _entry(
            "ast",
            "ASTModel",
            "ASTConfig",
            named("input_values", 32, 16),
            **SMALL,
            max_length=32,
            num_mel_bins=16,
            patch_size=8,
            frequency_stride=8,
            time_stride=8,
        ),
    ]
