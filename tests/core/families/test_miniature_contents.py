"""What is written down of the miniatures' weights, and what a check of a run on them does not do."""

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from ltxv_train_core.families.ltx2.family import LTX2
from ltxv_train_core.families.ltxv.family import LTXV
from ltxv_train_core.families.open import module_names
from ltxv_train_core.models.sources.content import content_of_state

FAMILIES = "ltxv_train_core.families"


@pytest.mark.parametrize("family", ["ltxv", "ltx2"])
def test_contents_are_those_of_the_weights(family: str) -> None:
    miniature = import_module(f"{FAMILIES}.{family}.miniature.weights")
    contents = import_module(f"{FAMILIES}.{family}.miniature.shipped").CONTENT
    for load, content in contents.items():
        assert content_of_state(getattr(miniature, load)().state_dict()) == content, load


@pytest.mark.parametrize("family", [LTXV, LTX2], ids=lambda family: family.name)
def test_layers_are_named_by_the_head_of_a_file(family) -> None:
    linear, others = module_names(family.miniature)
    known, all_others = family.layers.module_names(4)
    assert set(linear) <= set(known)
    assert {name for name in known if "blocks" in name} <= set(linear)
    assert set(others) <= set(all_others)
    assert {"transformer_blocks.3.attn1", "transformer_blocks.0.attn1.norm_k"} <= set(others)


@pytest.mark.long
def test_a_check_imports_neither_diffusers_nor_peft(tmp_path: Path) -> None:
    """They take seconds, and no weights are read."""
    config = tmp_path / "config.yaml"
    config.write_text(
        f"model: {{model_source: LTX2_MINIATURE}}\ndata: {{preprocessed_data_root: {tmp_path.as_posix()}/no}}\n",
        encoding="utf-8",
    )
    code = (
        "import sys; from ltxv_train_core.cli import main\n"
        f"assert main(['check', {str(config)!r}]) == 0\n"
        "print(sorted({'diffusers', 'peft', 'transformers'} & sys.modules.keys()))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines()[-1] == "[]"
