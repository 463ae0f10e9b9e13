"""What is written down of the miniatures' weights."""

from importlib import import_module

import pytest

from ltxv_train_core.families.ltx2.family import LTX2
from ltxv_train_core.families.ltxv.family import LTXV
from ltxv_train_core.families.ltxv.miniature.comfy_file import wide_vae
from ltxv_train_core.families.ltxv.miniature.shipped import VAE_CONTENT_IN_COMFYUI
from ltxv_train_core.families.open import module_names
from ltxv_train_core.models.sources.content import content_of_state

FAMILIES = "ltxv_train_core.families"


@pytest.mark.parametrize("family", ["ltxv", "ltx2"])
def test_contents_are_those_of_the_weights(family: str) -> None:
    miniature = import_module(f"{FAMILIES}.{family}.miniature.weights")
    contents = import_module(f"{FAMILIES}.{family}.miniature.shipped").CONTENT
    for load, content in contents.items():
        assert content_of_state(getattr(miniature, load)().state_dict()) == content, load


def test_the_vae_in_comfyui_s_file_is_known_too() -> None:
    assert content_of_state(wide_vae().state_dict()) == VAE_CONTENT_IN_COMFYUI


@pytest.mark.parametrize("family", [LTXV, LTX2], ids=lambda family: family.name)
def test_layers_are_named_by_the_head_of_a_file(family) -> None:
    linear, others = module_names(family.miniature)
    known, all_others = family.layers.module_names(4)
    assert set(linear) <= set(known)
    assert {name for name in known if "blocks" in name} <= set(linear)
    assert set(others) <= set(all_others)
    assert {"transformer_blocks.3.attn1", "transformer_blocks.0.attn1.norm_k"} <= set(others)
