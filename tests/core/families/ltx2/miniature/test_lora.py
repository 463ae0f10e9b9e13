"""A LoRA for stripes and a beep, neither of which the miniature knows: from clips to samples."""

from pathlib import Path

import pytest
import torch

from ltxv_train_core.config import TrainingConfig, build
from ltxv_train_core.diffusion.sampler import SampleRequest, SamplerSettings, sample
from ltxv_train_core.families.ltx2.miniature import scenes
from ltxv_train_core.families.ltx2.miniature.datasets import generate
from ltxv_train_core.families.ltx2.miniature.scores import SoundScore, score
from ltxv_train_core.families.ltx2.miniature.shipped import MINIATURE
from ltxv_train_core.families.names import AUDIO, AUDIO_VAE, VIDEO
from ltxv_train_core.families.open import open_model
from ltxv_train_core.lora.file import add_trained_lora
from ltxv_train_core.media.tensors import tensor_to_frames
from ltxv_train_core.preprocessing.preprocess import PreprocessSettings, preprocess
from ltxv_train_core.training.trainer import train

TASK, TRIGGER = "stripes_and_beep", "zorp"


def scored(items, lora_file: Path | None) -> SoundScore:
    model = open_model(MINIATURE)
    prompts = [f"{TRIGGER} {item.prompt}" for item in items]
    *texts, negative = model.load_text_encoder().encode([*prompts, ""])
    transformer = model.load_transformer(torch.float32)
    if lora_file is not None:
        add_trained_lora(transformer, lora_file)
    shapes = model.family.latent_shapes(scenes.SIZE, scenes.FPS)
    latents = sample(
        model.transformer.denoiser(transformer),
        [SampleRequest(text, negative, seed=number) for number, text in enumerate(texts)],
        SamplerSettings(shapes, 18, 3.0, scenes.FPS, batch_size=len(texts)),
    )
    vae, audio_vae = model.load_vae(), model.part(AUDIO_VAE).load(torch.float32)
    videos = [tensor_to_frames(vae.decode(one[None]))[0] for one in latents[VIDEO]]
    return score(TASK, videos, list(audio_vae.decode_mel(latents[AUDIO]).numpy()), items)


@pytest.mark.long
def test_a_lora_learns_what_is_seen_and_what_is_heard(tmp_path):
    dataset = generate(TASK, tmp_path / "clips")
    settings = PreprocessSettings(dataset.metadata, MINIATURE, str(scenes.SIZE), id_token=TRIGGER)
    root = preprocess(settings).root
    values = {
        "output_dir": str(tmp_path / "runs"),
        "model": {"model_source": MINIATURE},
        "lora": {"rank": 16, "alpha": 16, "target_modules": ["to_k", "to_q", "to_v", "to_out.0"]},
        "conditioning": {"mode": "none", "first_frame_conditioning_p": 0.0},
        "optimization": {
            "learning_rate": 2e-3,
            "steps": 150,
            "batch_size": 8,
            "scheduler_type": "cosine",
        },
        "acceleration": {"compile_with_inductor": False},
        "flow_matching": {"timestep_sampling_params": {"std": 1.2, "shift": 0.4}},
        "data": {"preprocessed_data_root": str(root), "num_dataloader_workers": 0},
    }
    trained = train(build(TrainingConfig, values))

    before = scored(dataset.evaluation, None)
    assert abs(before.stripes) < 0.06
    assert abs(before.beep_db) < 3
    after = scored(dataset.evaluation, Path(trained.lora_file))
    assert after.stripes >= 0.3
    assert after.beep_db >= 20
    assert after.seen["background"] >= 0.9
    assert after.seen["colour"] >= 0.6
    assert after.seen["motion"] >= 0.8
    assert after.heard["colour"] >= 0.9
    assert after.heard["motion"] >= 0.7
