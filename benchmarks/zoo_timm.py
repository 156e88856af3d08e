"""timm: one small model of each family."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn
from zoo_entries import Entry, arrays

FAMILIES = (
    "beit_base_patch16_224", "botnet26t_256", "test_byobnet", "repvgg_a0", "mobileone_s0", "cait_xxs24_224",
    "coat_lite_tiny", "convit_tiny", "convmixer_1024_20_ks9_p14", "convnext_atto", "convnextv2_atto",
    "crossvit_tiny_240", "cs3darknet_focus_s", "cspresnet50", "davit_tiny", "deit_tiny_patch16_224",
    "deit3_small_patch16_224", "densenet121", "dla34", "dpn48b", "edgenext_xx_small", "efficientformer_l1",
    "efficientformerv2_s0", "efficientnet_b0", "efficientvim_m1", "efficientvit_b0", "efficientvit_m0",
    "eva02_tiny_patch14_224", "fasternet_t0", "fastvit_t8", "focalnet_tiny_srf", "gcvit_xxtiny", "ghostnet_050",
    "hardcorenas_a", "hgnetv2_b0", "hiera_tiny_224", "hrnet_w18_small", "inception_next_atto", "inception_resnet_v2",
    "inception_v3", "inception_v4", "lcnet_050", "levit_128s", "mambaout_femto", "maxvit_tiny_rw_224",
    "coatnet_nano_rw_224", "poolformer_s12", "caformer_s18", "mixer_s32_224", "gmlp_s16_224", "resmlp_12_224",
    "mobilenetv3_small_050", "mobilenetv4_conv_small", "mobilevit_xxs", "mobilevitv2_050", "mvitv2_tiny",
    "nasnetalarge", "nest_tiny", "nextvit_small", "dm_nfnet_f0", "nf_regnet_b0", "pit_ti_224", "pnasnet5large",
    "pvt_v2_b0", "rdnet_tiny", "regnetx_002", "regnety_002", "repghostnet_050", "repvit_m0_9", "res2net50_14w_8s",
    "resnest14d", "test_resnet", "resnet18d", "resnetv2_18", "rexnet_100", "selecsls42", "legacy_seresnet18",
    "sequencer2d_s", "shvit_s1", "skresnet18", "starnet_s050", "swiftformer_xs", "swin_tiny_patch4_window7_224",
    "swinv2_tiny_window8_256", "swinv2_cr_tiny_224", "tiny_vit_5m_224", "tnt_s_patch16_224", "tresnet_m",
    "twins_svt_small", "vgg11", "visformer_tiny", "vit_tiny_patch16_224", "test_vit2", "vit_tiny_r_s16_p8_224",
    "test_vit_relpos", "samvit_base_patch16_224", "vitamin_small_224", "volo_d1_224", "eca_vovnet39b",
    "legacy_xception", "xception41", "xcit_nano_12_p16_224",
)  # fmt: skip


def families() -> list[Entry]:
    """One model each, at the size it was made for."""
    import timm

    entries = []
    for name in FAMILIES:
        size = timm.get_pretrained_cfg(name).input_size
        entries.append(Entry(name, _maker(name), arrays(*size)))
    return entries


def _maker(name: str) -> Callable[[], nn.Module]:
    import timm

    return lambda: timm.create_model(name, pretrained=False)
