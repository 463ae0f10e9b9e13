"""What is sampled while training: one test for each option of the section."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from ltxv_train_core import config as configuration
from ltxv_train_core.config import ValidationConfig
from ltxv_train_core.errors import ConfigurationError, DataError
from ltxv_train_core.events import NeverStop, SamplesWritten, StepCompleted, ignore
from ltxv_train_core.families.family import Sampling
from ltxv_train_core.families.ltxv.family import LTXV
from ltxv_train_core.families.ltxv.miniature.clips import ClipSpec, render
from ltxv_train_core.families.ltxv.miniature.comfy_file import export
from ltxv_train_core.families.open import open_model
from ltxv_train_core.media.tensors import frames_to_tensor
from ltxv_train_core.media.write import write_video
from ltxv_train_core.runs.failures import PromptMemoryError
from ltxv_train_core.training.decoding import decode_videos
from ltxv_train_core.training.preflight import check, problems
from ltxv_train_core.training.sample_settings import sample_settings
from ltxv_train_core.training.trainer import train
from ltxv_train_core.training.validation import Validator

PROMPT = "a red circle moves right on a teal background"
SAME = 3  # the encoder is lossy, and not the same each time
SHORT = {"video_dims": [96, 64, 9], "inference_steps": 1}
CLIP = render(ClipSpec("circle", "red", "teal", "right", radius=0.3)).frames
EXIF_ORIENTATION, TURNED_RIGHT = 0x0112, 6


@pytest.fixture(scope="module")
def source():
    return open_model("LTXV_MINIATURE")


@pytest.fixture(scope="module")
def denoiser(source):
    return source.transformer.denoiser(source.load_transformer(torch.float32))


@pytest.fixture
def validate(training_config, source, denoiser, tmp_path):
    """Samples with options of the section; returns the videos' files and the requests."""

    def run(data=(), conditioning=None, **options):
        config = training_config(
            *data,
            conditioning=conditioning or {},
            validation={"prompts": [PROMPT]} | SHORT | options,
        )
        validator = Validator.prepare(config, source, torch.device("cpu"))
        folder = tmp_path / "samples" / str(len(list(tmp_path.glob("samples/*"))))
        written = validator.run(denoiser, 1, folder, ignore, NeverStop(), {})
        return written, validator.requests

    return run


def read(path):
    with av.open(str(path)) as file:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)])


def distance(ours, theirs):
    """Mean absolute difference of two videos, in 255ths."""
    return np.abs(ours.astype(float) - theirs).mean()


def picture(path, width, height):
    """A picture of another size and shape, stored lying on its side as a phone does."""
    frame = Image.fromarray(CLIP[4]).resize((width, height), Image.Resampling.BICUBIC)
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = TURNED_RIGHT
    frame.transpose(Image.Transpose.ROTATE_90).save(path, exif=exif)
    return frame


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_the_vae_keeps_its_precision_where_the_transformer_has_another(source, dtype):
    latents = torch.randn(1, 128, 2, 2, 2, generator=torch.Generator().manual_seed(0))
    (alone,) = decode_videos(latents, source, torch.device("cpu"))
    with torch.autocast("cpu", dtype):
        (within,) = decode_videos(latents, source, torch.device("cpu"))
    assert np.array_equal(within, alone)


@pytest.mark.parametrize("size", [(240, 200), (150, 300)], ids=["wide", "tall"])
def test_an_image_is_the_first_frame(validate, source, tmp_path, size):
    frame = picture(tmp_path / "first.png", *size)
    scale = max(96 / size[0], 64 / size[1])
    width, height = round(size[0] * scale), round(size[1] * scale)
    left, top = (width - 96) // 2, (height - 64) // 2
    cover = frame.resize((width, height), Image.Resampling.BICUBIC)
    expected = np.array(cover.crop((left, top, left + 96, top + 64)))[None]

    samples, requests = validate(images=[str(tmp_path / "first.png")])
    given = requests[0].given["video"]
    assert given.where[0].all()
    assert not given.where[1:].any()
    encoded = source.load_vae().encode(frames_to_tensor(expected))[0, :, 0]
    assert (given.latents[:, 0] - encoded).abs().mean() < 0.05 * encoded.std()
    shown = read(samples.videos[0])[:1]
    assert distance(shown, expected) < 18
    assert distance(shown, expected[:, :, ::-1]) > 2 * distance(shown, expected)


def test_images_and_reference_videos_go_together(validate, mirror_data, tmp_path):
    write_video(tmp_path / "reference.mp4", CLIP, 25.0)
    picture(tmp_path / "first.png", 96, 64)
    _, requests = validate(
        (mirror_data,),
        {"mode": "reference_video"},
        images=[str(tmp_path / "first.png")],
        reference_videos=[str(tmp_path / "reference.mp4")],
    )
    assert requests[0].references["video"].shape == (128, 2, 2, 3)
    assert requests[0].given["video"].where.shape == (2, 2, 3)


def test_each_video_of_a_prompt_has_the_next_seed(validate):
    several, requests = validate(prompts=[PROMPT, "a ring"], videos_per_prompt=2, seed=5)
    assert [r.seed for r in requests] == [5, 6, 5, 6]
    assert [path.name for path in several.videos] == [f"{i:03d}.mp4" for i in range(4)]
    alone, _ = validate(seed=6)
    videos = [read(path) for path in several.videos]
    assert distance(read(alone.videos[0]), videos[1]) < SAME
    assert distance(videos[0], videos[1]) > 2 * SAME
    assert distance(videos[0], videos[2]) > 2 * SAME


def test_what_a_video_shall_not_be_is_the_negative_prompt(validate):
    _, (one,) = validate(prompts=[PROMPT], negative_prompt="a ring")
    _, (other,) = validate(prompts=["a ring"], negative_prompt=PROMPT)
    assert torch.equal(one.negative["prompt_embeds"], other.prompt["prompt_embeds"])
    assert torch.equal(one.prompt["prompt_embeds"], other.negative["prompt_embeds"])
    assert one.negative["prompt_embeds"].shape != one.prompt["prompt_embeds"].shape


def test_the_size_the_rate_and_the_length_of_a_video(validate):
    samples, _ = validate(video_dims=[64, 96, 17], frame_rate=12.5)
    with av.open(str(samples.videos[0])) as file:
        stream = file.streams.video[0]
        assert (stream.width, stream.height, stream.frames) == (64, 96, 17)
        assert float(stream.average_rate) == 12.5


@pytest.mark.long
def test_each_option_changes_the_samples(validate):
    plain = read(validate()[0].videos[0])
    for option in (
        {"frame_rate": 8.0},
        {"inference_steps": 2},
        {"guidance_scale": 1.0},
        {"negative_prompt": "a blue square on a grey background"},
    ):
        assert distance(read(validate(**option)[0].videos[0]), plain) > 2 * SAME, option


def run(config):
    events: list = []
    train(config, events.append)
    return events


def test_samples_before_the_first_step_show_the_base_model(training_config, validate):
    options = {"prompts": [PROMPT], "interval": 1} | SHORT
    events = run(training_config(optimization={"steps": 1}, validation=options))
    order = [type(e) for e in events if isinstance(e, SamplesWritten | StepCompleted)]
    assert order == [SamplesWritten, StepCompleted, SamplesWritten]
    first = next(e for e in events if isinstance(e, SamplesWritten))
    assert first.step == 0
    assert first.sheet.parent.name == "000000"
    assert distance(read(first.videos[0]), read(validate()[0].videos[0])) < SAME


def test_the_first_samples_can_be_left_out(training_config):
    options = {"prompts": [PROMPT], "interval": 1, "skip_initial_validation": True} | SHORT
    events = run(training_config(optimization={"steps": 1}, validation=options))
    assert [e.step for e in events if isinstance(e, SamplesWritten)] == [1]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    step=st.integers(0, 60),
    last=st.integers(1, 60),
    interval=st.none() | st.integers(1, 20),
    skip=st.booleans(),
)
def test_samples_come_first_at_each_interval_and_last(step, last, interval, skip):
    options = ValidationConfig(interval=interval, skip_initial_validation=skip)
    due = Validator(options, None, torch.device("cpu"), ()).is_due(step, last)
    if interval is None:
        assert not due
    elif step == 0:
        assert due == (not skip)
    else:
        assert due == (step in {*range(0, 61, interval), last})


@pytest.mark.parametrize(
    ("name", "steps", "own"),
    [
        ("LTXV_13B_098_DISTILLED", 7, True),
        ("LTXV_13B_098_DISTILLED", 6, False),
        ("mine", 7, False),
    ],
)
def test_a_distilled_models_levels_are_taken_for_as_many_steps(
    training_config, source, denoiser, tmp_path, name, steps, own
):
    options = {"prompts": [PROMPT], "video_dims": [32, 32, 1], "inference_steps": steps}
    config = training_config(validation=options | {"guidance_scale": 1.0})
    model, seen, told = replace(source, name=name), [], []
    validator = Validator.prepare(config, model, torch.device("cpu"))
    hook = denoiser.transformer.time_embed.register_forward_pre_hook(
        lambda module, timesteps: seen.append(timesteps[0].max().item())
    )
    validator.run(denoiser, 1, tmp_path, told.append, NeverStop(), {})
    hook.remove()
    plain = denoiser.sampling_levels(steps, {"video": 1}).tolist()[:-1]
    levels = LTXV.versions["LTXV_13B_098_DISTILLED"].sampling.levels if own else plain
    assert seen == pytest.approx([1000 * level for level in levels])
    assert [(e.phase, e.done, e.total, e.unit) for e in told] == [
        *(("sample", number, steps, "step") for number in range(1, steps + 1)),
        ("decode", 1, 1, "video"),
    ]


def test_samples_carry_the_graph_that_trains(training_config, source, denoiser, tmp_path):
    config = training_config(validation={"prompts": [PROMPT]} | SHORT)
    validator = Validator.prepare(config, source, torch.device("cpu"))
    graph = {"workflow": '{"nodes": ["Kätze"]}', "prompt": "no JSON"}
    written = validator.run(denoiser, 1, tmp_path, ignore, NeverStop(), graph)
    (video,) = written.videos
    with av.open(str(video)) as container:
        assert container.metadata["workflow"] == graph["workflow"]
    content = video.read_bytes()
    assert 0 < content.index(b"moov") < content.index(b"mdat")
    with Image.open(written.sheet) as sheet:
        assert sheet.text == {"workflow": '{"nodes": ["K\\u00e4tze"]}'}


@pytest.mark.parametrize(
    ("graph", "reason"),
    [
        (None, "no ComfyUI graph trained it"),
        ({"workflow": "{}"}, "its run has embed_workflow switched off"),
    ],
)
def test_samples_without_a_graph_say_why(training_config, graph, reason):
    config = training_config(
        optimization={"steps": 1},
        checkpoints={"embed_workflow": graph is None},
        validation={"prompts": [PROMPT], "interval": 1} | SHORT,
    )
    folder = train(config, graph=graph).lora_file.parent.parent / "samples" / "000001"
    with av.open(str(folder / "000.mp4")) as container, Image.open(folder / "sheet.png") as sheet:
        for texts in (container.metadata, sheet.text):
            assert texts["no_graph"] == f'"No graph in this file: {reason}"'
            assert "workflow" not in texts


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (DataError("too long"), DataError, "validation.prompts: too long"),
        (MemoryError("9 GB"), PromptMemoryError, "encoding validation.prompts: 9 GB"),
        (KeyError("other"), KeyError, "'other'"),
    ],
)
def test_prompts_that_can_not_be_encoded_are_named(training_config, error, kind, text):
    def fail(dtype):
        raise error

    config = training_config(validation={"prompts": [PROMPT]} | SHORT)
    with pytest.raises(kind) as told:
        Validator.prepare(config, SimpleNamespace(load_text_encoder=fail), torch.device("cpu"))
    assert str(told.value) == text


@pytest.mark.parametrize("options", [{"interval": None}, {"prompts": []}])
def test_without_interval_or_prompts_nothing_is_loaded(training_config, source, options):
    config = training_config(validation={"prompts": [PROMPT]} | SHORT | options)
    assert Validator.prepare(config, source, torch.device("cpu")) is None
    asked = Validator.prepare(config, source, torch.device("cpu"), asked=True)
    assert (asked is None) == (options == {"prompts": []})


def test_unusable_files_are_named_before_anything_is_loaded(training_config, mirror_data, tmp_path):
    write_video(tmp_path / "short.mp4", CLIP[:5], 25.0)
    (tmp_path / "broken.png").write_bytes(b"no picture")
    config = training_config(
        mirror_data,
        conditioning={"mode": "reference_video"},
        validation={
            "prompts": ["a", "b"],
            "images": [str(tmp_path / "nowhere.png"), str(tmp_path / "broken.png")],
            "reference_videos": [str(tmp_path / "short.mp4")] * 2,
        }
        | SHORT,
    )
    found = problems(config)
    assert [line.split(":")[0] for line in found] == [
        "validation.images",
        "validation.images",
        "validation.reference_videos",
        "validation.reference_videos",
    ]
    assert "nowhere.png" in found[0]
    assert "5 frames, and the samples have 9" in found[2]


def test_images_are_counted_against_the_prompts():
    with pytest.raises(ConfigurationError, match="images has 1 entries and prompts has 2"):
        configuration.build(ValidationConfig, {"prompts": ["a", "b"], "images": ["x.png"]})


DISTILLED = "LTXV_13B_098_DISTILLED"


def test_samples_of_a_distilled_model_follow_it_unless_they_are_to_be_as_written(training_config):
    def remarks(source, **validation):
        config = training_config(
            model={"model_source": source}, validation={"prompts": ["a ring"], **validation}
        )
        return [line for line in check(config)[1] if line.startswith("validation")]

    (line,) = remarks(DISTILLED)
    assert "meant to be, with inference_steps 7 and guidance_scale 1; set validation.as_wr" in line
    assert "with inference_steps 8 and" in remarks("LTXV_2B_0.9.6_DISTILLED")[0]
    assert "with inference_steps 7; set" in remarks(DISTILLED, guidance_scale=1.0)[0]
    (line,) = remarks(DISTILLED, as_written=True)
    assert line.endswith("set it to 1, and validation.inference_steps to 7")
    assert remarks(DISTILLED, inference_steps=7, guidance_scale=1.0) == []
    assert remarks("LTXV_2B_0.9.5") == []


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, (3, 1.0, (1.0, 0.9, 0.5))),
        ({"as_written": True}, (50, 3.0, None)),
        ({"inference_steps": 4}, (4, 1.0, None)),
        ({"guidance_scale": 2.0}, (3, 2.0, (1.0, 0.9, 0.5))),
        ({"as_written": True, "inference_steps": 3, "guidance_scale": 1.0}, (3, 1.0, (1.0, 0.9, 0.5))),
    ],
)  # fmt: skip
def test_a_default_follows_the_model(options, expected):
    validation = configuration.build(ValidationConfig, options)
    found = sample_settings(validation, Sampling(3, 1.0, (1.0, 0.9, 0.5)))
    assert (found.steps, found.guidance_scale, found.levels) == expected
    plain = sample_settings(validation, None)
    assert (plain.steps, plain.guidance_scale) == (
        validation.inference_steps,
        validation.guidance_scale,
    )


def test_a_run_samples_a_distilled_model_as_it_is_meant_to_be(training_config, source, denoiser):
    config = training_config(validation={"prompts": [PROMPT], "video_dims": [64, 64, 9]})
    facts = replace(source.facts, sampling=Sampling(2, 1.0, (1.0, 0.5)))
    transformer = SimpleNamespace(facts=facts)
    validator = Validator.prepare(config, source, torch.device("cpu"))
    calls = []

    class Watched:
        def __getattr__(self, name):
            return getattr(denoiser, name)

        def denoise(self, inputs, text):
            calls.append(tuple(inputs["video"].levels[:, 0].tolist()))
            return denoiser.denoise(inputs, text)

    validator = replace(validator, source=replace(source, transformer=transformer))
    validator.run(Watched(), 1, Path(config.output_dir), ignore, NeverStop(), {})
    assert calls == [(1.0,), (0.5,)]


@pytest.mark.parametrize(
    ("stated", "expected"),
    [([0.5, 1.0, 0.75], Sampling(3, 1.0, (1.0, 0.75, 0.5))), ([0.5], None), ("many", None), (None, None)],
)  # fmt: skip
def test_a_file_says_how_its_model_is_sampled(tmp_path, stated, expected):
    whole = export(tmp_path / "whole.safetensors")
    with safe_open(whole, "pt") as file:
        metadata = file.metadata()
    described = json.loads(metadata["config"]) | {"allowed_inference_steps": stated}
    path = tmp_path / "distilled.safetensors"
    save_file(load_file(whole), path, {**metadata, "config": json.dumps(described)})
    assert open_model(str(path)).sampling == expected


def test_samples_can_be_guided_by_what_lacks_self_attention(validate):
    plain, _ = validate(inference_steps=2, stg_blocks=[1], stg_mode="stg_v")
    again, _ = validate(inference_steps=2)
    assert distance(read(plain.videos[0]), read(again.videos[0])) < SAME, "stg_scale is 0"
    guided, _ = validate(inference_steps=2, stg_scale=2.0, stg_blocks=[1])
    other, _ = validate(inference_steps=2, stg_scale=2.0, stg_blocks=[0, 3])
    own, _ = validate(inference_steps=2, stg_scale=2.0)
    videos = [read(each.videos[0]) for each in (plain, guided, other, own)]
    for number, video in enumerate(videos):
        assert all(distance(video, earlier) > SAME for earlier in videos[:number])


def test_blocks_that_are_not_there_are_named_before_the_run(training_config):
    def found(**validation):
        return problems(training_config(validation={"prompts": [PROMPT]} | SHORT | validation))

    assert found(stg_scale=1.0, stg_blocks=[0, 3]) == []
    (problem,) = found(stg_scale=1.0, stg_blocks=[3, 28])
    assert problem == (
        "validation.stg_blocks: there is no block 28: the model has 4, numbered from 0 to 3"
    )
    for wrong in ([], [-1], [2, 2]):
        with pytest.raises(
            ConfigurationError, match=r"stg_blocks.*expected numbers of blocks from 0"
        ):
            found(stg_blocks=wrong)
