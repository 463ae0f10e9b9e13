"""The LoRA files that a run writes: forms, number format, metadata."""

import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from ltxv_train_core.events import Notice
from ltxv_train_core.families.ltxv.miniature.datasets import generate
from ltxv_train_core.lora.file import read_lora
from ltxv_train_core.preprocessing.preprocess import PreprocessSettings, preprocess
from ltxv_train_core.training.trainer import train

GRAPH = {"workflow": '{"nodes": []}', "prompt": "{}"}


def metadata(path) -> dict[str, str]:
    with safe_open(path, "pt") as file:
        return file.metadata()


def forms(lora_file) -> list[str]:
    others = lora_file.parent.glob(f"{lora_file.stem}-*.safetensors")
    return sorted(path.stem.rpartition("-")[2] for path in others)


def test_other_forms_lie_beside_the_file_also_of_a_finished_run(training_config):
    once = {"optimization": {"steps": 1}, "lora": {"rank": 4, "alpha": 8}}
    result = train(training_config(**once, checkpoints={"write_kohya": True}))
    assert forms(result.lora_file) == ["kohya"]
    content = result.lora_file.read_bytes()
    again = train(training_config(**once, checkpoints={"write_diffusers": True}))
    assert again == result
    assert forms(result.lora_file) == ["diffusers", "kohya"]
    assert result.lora_file.read_bytes() == content
    ours = read_lora(result.lora_file).lora
    for form in ("diffusers", "kohya"):
        theirs = read_lora(result.lora_file.with_stem(f"{result.lora_file.stem}-{form}")).lora
        assert theirs.keys() == ours.keys()
        for name, layer in ours.items():
            assert torch.equal(theirs[name].change(), layer.change())


def test_half_precision_and_its_rounding(training_config):
    options = {"optimization": {"steps": 2}, "lora": {"rank": 4, "alpha": 12}}
    whole = train(training_config(**options))
    half = train(training_config(**options, checkpoints={"lora_dtype": "bf16"}, name="half"))
    exact, rounded = load_file(whole.lora_file), load_file(half.lora_file)
    assert {t.dtype for t in exact.values()} == {torch.float32}
    assert all(torch.equal(rounded[key], exact[key].bfloat16()) for key in exact)
    told: list = []
    wanted = training_config(**options, checkpoints={"lora_dtype": "bf16"})
    assert train(wanted, told.append) == whole
    assert "lora_dtype bf16: the LoRA was written in another format" in told[-1].message
    whole.lora_file.unlink()
    assert {t.dtype for t in load_file(train(wanted).lora_file).values()} == {torch.bfloat16}
    train(wanted, told.append)
    assert "is finished" in told[-1].message, "and nothing else"


@pytest.mark.parametrize("embed", [True, False])
def test_the_graph_that_trained_it(training_config, embed):
    config = training_config(
        optimization={"steps": 1}, checkpoints={"embed_workflow": embed}, name=f"embed-{embed}"
    )
    told = metadata(train(config, graph=GRAPH).lora_file)
    assert {key: told[key] for key in GRAPH if key in told} == (GRAPH if embed else {})


def test_facts_for_a_model_library(training_config, tmp_path):
    dataset = generate("mirror", tmp_path / "clips", clips=3)
    settings = PreprocessSettings(dataset.metadata, "LTXV_MINIATURE", "96x64x17", id_token="zorp")
    config = training_config(
        preprocess(settings).root,
        optimization={"steps": 1},
        conditioning={"mode": "reference_video"},
        name="facts",
    )
    told = metadata(train(config).lora_file)
    assert told["modelspec.title"] == "facts"
    assert told["modelspec.architecture"] == "ltx-video/lora"
    assert told["modelspec.trigger_phrase"] == "zorp"
    assert told["modelspec.resolution"] == "96x64"
    assert told["modelspec.description"] == "IC-LoRA for LTXV_MINIATURE, trained on 3 clips"
    assert told["reference_downscale_factor"] == "1"
    assert json.loads(told["training_config"])["name"] == "facts"
    assert str(tmp_path) not in json.dumps(told)


def test_a_name_that_diffusers_lacks_is_said_once(training_config):
    def notices(**checkpoints) -> list[str]:
        events: list = []
        config = training_config(
            lora={"target_modules": ["proj_in", "to_q"]},
            optimization={"steps": 1},
            checkpoints=checkpoints,
            name=f"lacks-{len(checkpoints)}",
        )
        train(config, events.append)
        texts = [event.message for event in events if isinstance(event, Notice)]
        return [text for text in texts if "diffusers" in text]

    (line,) = notices()
    assert "ComfyUI's names of proj_in" in line
    assert "checkpoints.write_diffusers" in line
    assert notices(write_diffusers=True) == []
