"""A family with other strides, 4n + 1 frames and two streams goes the whole way without a branch elsewhere."""

import json
from dataclasses import replace

import av
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from ltxv_train_core.datasets.cache import Cache
from ltxv_train_core.datasets.dataset import TrainingDataset, collate
from ltxv_train_core.datasets.export import export_reference
from ltxv_train_core.datasets.index import read_index
from ltxv_train_core.datasets.summary import summarize
from ltxv_train_core.diffusion.sampler import SampleRequest, SamplerSettings, sample
from ltxv_train_core.errors import ConfigurationError, DataError
from ltxv_train_core.families.open import open_model
from ltxv_train_core.geometry import VideoSize
from ltxv_train_core.media.write import write_video
from ltxv_train_core.preprocessing.preprocess import PreprocessSettings, preprocess
from ltxv_train_core.training.preflight import problems
from tests.helpers import toy_family
from tests.helpers.short_run import run

SIZE = "48x32x13"  # neither a multiple of 32 nor 8n + 1


@pytest.fixture(autouse=True)
def toy():
    with toy_family.known() as family:
        yield family


@pytest.fixture
def data(tmp_path):
    """Three clips that grow brighter, each with a reference and a caption."""
    rows = []
    for number in range(3):
        for name, shift in ((f"{number}.mp4", 0), (f"ref_{number}.mp4", 40)):
            levels = np.linspace(40, 120, 13) + 20 * number + shift
            frames = np.broadcast_to(levels[:, None, None, None], (13, 32, 48, 3))
            write_video(tmp_path / name, frames.astype(np.uint8), fps=10)
        rows.append(
            {"media_path": f"{number}.mp4", "caption": "ab", "reference_path": f"ref_{number}.mp4"}
        )
    (tmp_path / "data.json").write_text(json.dumps(rows), encoding="utf-8")
    settings = PreprocessSettings(tmp_path / "data.json", toy_family.MINIATURE, SIZE)
    return preprocess(settings)


def test_every_stream_is_preprocessed_indexed_and_batched(data):
    index = read_index(data.root)
    assert (index.family, len(index.items), data.skipped) == ("Toy", 3, ())
    streams = index.items[0].streams
    assert {name: list(files) for name, files in streams.items()} == {
        "video": ["latents", "reference"],
        "light": ["latents"],
    }
    light = streams["light"]["latents"]
    assert light.path.startswith("light_latents/0.mp4.")
    assert load_file(data.root / light.path)["latents"].shape == (2, 7)
    assert data.dataset.sample_tokens == {SIZE: 2 * 4 * 2 * 3 + 7}
    published = replace(index, model={**index.model, "name": "toy-1"})
    assert "of a tiny model" in summarize(published, Cache(data.root)).lines[-1]

    dataset = TrainingDataset(data.root, "reference_latents")
    batch = collate([dataset[0], dataset[2]])
    assert batch.streams["video"]["latents"].shape == (2, 6, 4, 2, 3)
    assert batch.streams["video"]["reference"].shape == (2, 6, 4, 2, 3)
    assert batch.streams["light"]["latents"].shape == (2, 2, 7)
    assert batch.text.tensors["words"].shape == (2, 2, 8)
    rise = batch.streams["light"]["latents"][0, 0].diff()
    assert rise.mean().item() == pytest.approx(2 / 255 * 80 / 6, rel=0.1)


def test_nothing_is_encoded_twice_and_only_its_files_are_orphans(data, tmp_path):
    settings = PreprocessSettings(tmp_path / "data.json", toy_family.MINIATURE, SIZE)
    again = preprocess(settings)
    assert (again.written, again.reused) == (0, 12)
    rows = json.loads((tmp_path / "data.json").read_text(encoding="utf-8"))
    (tmp_path / "data.json").write_text(json.dumps(rows[:2]), encoding="utf-8")
    fewer = preprocess(settings.model_copy(update={"remove_orphans": True}))
    assert [name.split("/")[0] for name in fewer.orphans] == [
        "conditions",
        "latents",
        "light_latents",
        "reference_latents",
    ]
    assert len(list((data.root / "light_latents").iterdir())) == 2


def options(**more):
    return {
        "model": {"model_source": toy_family.MINIATURE},
        "lora": {"rank": 4, "alpha": 4, "target_modules": ["to_q", "to_out"]},
        "optimization": {"steps": 40, "batch_size": 2, "learning_rate": 3e-2},
        "validation": {
            "prompts": ["ab"],
            "interval": 40,
            "video_dims": [48, 32, 13],
            "inference_steps": 4,
            "frame_rate": 10,
        },
    } | more


@pytest.mark.parametrize("mode", ["none", "reference_video"])
def test_a_run_learns_both_streams_and_samples(data, training_config, mode):
    more = {"conditioning": {"mode": mode, "first_frame_conditioning_p": 0.3}}
    if mode == "reference_video":
        options_of_samples = options()["validation"]
        references = [str(data.root.parent / "ref_0.mp4")]
        more["validation"] = options_of_samples | {"reference_videos": references}
    config = training_config(data.root, **options(**more))
    assert problems(config) == []
    result, losses, notices = run(config)
    assert result.finished
    assert np.mean(losses[-8:]) < 0.8 * np.mean(losses[:8])
    assert any("a step needs about" in line for line in notices)
    names = {key.split(".lora")[0] for key in load_file(result.lora_file)}
    assert names == {
        f"diffusion_model.transformer_blocks.{block}.mix.{layer}"
        for block in range(2)
        for layer in ("to_q", "to_out")
    }
    (video,) = (result.lora_file.parent.parent / "samples").rglob("*40/*.mp4")
    with av.open(str(video)) as file:
        stream = file.streams.video[0]
        assert (stream.width, stream.height, stream.frames) == (48, 32, 13)


def test_the_sampler_denoises_the_streams_together(toy):
    model = open_model(toy_family.MINIATURE)
    denoiser = model.transformer.denoiser(model.load_transformer(torch.float32))
    text, empty = model.load_text_encoder().encode(["ab", ""])
    shapes = toy.latent_shapes(VideoSize(48, 32, 13), 10.0)
    settings = SamplerSettings(shapes, steps=3, guidance_scale=2.0)
    first, other = (sample(denoiser, [SampleRequest(text, empty, n)], settings) for n in (1, 2))
    assert {name: tuple(each.shape) for name, each in first.items()} == {
        "video": (1, 6, 4, 2, 3),
        "light": (1, 2, 7),
    }
    assert not torch.equal(first["light"], other["light"])


def test_a_data_set_of_one_family_trains_no_model_of_another(data, stripes_data, training_config):
    (line,) = problems(training_config(data.root))
    assert "it was preprocessed for Toy, and LTXV_MINIATURE is a model of LTX-Video" in line
    (line,) = problems(training_config(stripes_data, **options()))
    assert "it was preprocessed for LTX-Video, and TOY_MINIATURE is a model of Toy" in line
    with pytest.raises(DataError, match="is a data set for Toy"):
        export_reference(data.root, data.root.parent / "out")


def test_each_family_takes_the_sizes_of_its_grid(data, training_config, tmp_path):
    validation = options()["validation"] | {"video_dims": [64, 64, 9]}
    assert problems(training_config(data.root, **options(validation=validation))) == []
    config = training_config(validation={"video_dims": [48, 32, 13]})
    (line,) = problems(config)
    assert "frames 8n + 1; the nearest is 64x32x17" in line
    with pytest.raises(ConfigurationError, match="frames 8n"):
        preprocess(PreprocessSettings(tmp_path / "data.json", "LTXV_MINIATURE", SIZE))
