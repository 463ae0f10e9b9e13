"""Trains the miniature's transformer and text encoder together, by flow matching.

Shapes: B batch, N tokens of a clip, L text tokens.
"""

import random
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import LTXVideoTransformer3DModel
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import PreTrainedTokenizerFast, T5EncoderModel

from ltxv_train_core.families.ltxv.miniature import clips, shipped, weights
from ltxv_train_core.families.ltxv.miniature.vae import COMPONENTS, VaeFactors
from ltxv_train_core.families.ltxv.video_format import GRID
from ltxv_train_core.families.ltxv.video_stream import VideoStream

from . import miniature_vae_fit as vae_fit
from .miniature_tokenizer import NEUTRAL_WORDS
from .pretraining_loop import Draws, Settings, Training, drawn_once, save_part

DEAD_CHANNEL_WEIGHT = 0.15
NO_CAPTION, NO_MOTION, NO_SHAPE, JUNK_WORD = 0.10, 0.10, 0.05, 0.15
CLEAN_FIRST_FRAME = 0.12
CAPTION_TOKENS = 18
LATENT = GRID.latent(clips.SIZE)
VIDEO = VideoStream(shipped.CAUSAL)


@dataclass(frozen=True)
class Models:
    transformer: LTXVideoTransformer3DModel
    text_encoder: T5EncoderModel
    tokenizer: PreTrainedTokenizerFast

    @classmethod
    def new(cls, tokenizer_folder: Path) -> "Models":
        tokenizer = weights.load_tokenizer(tokenizer_folder)
        return cls(
            weights.new_transformer().train(),
            weights.new_text_encoder(len(tokenizer)).train(),
            tokenizer,
        )

    def parameters(self) -> list[nn.Parameter]:
        return [*self.transformer.parameters(), *self.text_encoder.parameters()]

    def encode(self, prompts: list[str]) -> tuple[Tensor, Tensor]:
        """Embeddings [B, L, 128] and mask [B, L]."""
        tokens = self.tokenizer(
            prompts,
            padding="max_length",
            truncation=True,
            max_length=CAPTION_TOKENS,
            return_tensors="pt",
        )
        states = self.text_encoder(tokens.input_ids, attention_mask=tokens.attention_mask)
        return states.last_hidden_state, tokens.attention_mask

    def save(self, folder: Path) -> None:
        save_part(self.transformer, folder / shipped.TRANSFORMER_FILE)
        save_part(self.text_encoder, folder / shipped.TEXT_ENCODER_FILE)


def training_caption(spec: clips.ClipSpec, rng: random.Random) -> str:
    kind = rng.random()
    if kind < NO_CAPTION:
        return ""
    text = clips.caption(spec, with_motion=kind >= NO_CAPTION + NO_MOTION)
    if NO_CAPTION + NO_MOTION <= kind < NO_CAPTION + NO_MOTION + NO_SHAPE:
        text = text.replace(spec.shape, "shape")
    return with_junk_word(text, rng)


def with_junk_word(text: str, rng: random.Random) -> str:
    """The caption, sometimes with a word beside it that the model has no meaning for."""
    if rng.random() < JUNK_WORD:
        letters = "".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(3, 5)))
        junk = rng.choice(NEUTRAL_WORDS) if rng.random() < 0.25 else letters
        text = f"{junk} {text}" if rng.random() < 0.7 else f"{text} {junk}"
    return text


def encoded_clips(
    factors: VaeFactors, count: int, seed: int
) -> tuple[Tensor, list[clips.ClipSpec]]:
    """Normalised latents as tokens [count, N, 128], and the specs they were drawn from."""
    rng = random.Random(seed)
    specs = [clips.random_spec(rng) for _ in range(count)]
    return encode_clips(factors, specs), specs


def encode_clips(factors: VaeFactors, specs: list[clips.ClipSpec]) -> Tensor:
    """Normalised latents as tokens [count, N, 128]."""
    tokens = torch.zeros(len(specs), LATENT.tokens, len(factors.latents_std))
    mean, std = (s[:COMPONENTS] for s in (factors.latents_mean, factors.latents_std))
    for start in range(0, len(specs), 16):
        group = specs[start : start + 16]
        frames = torch.stack([vae_fit.to_tensor(clips.render(spec).frames) for spec in group])
        latents = VIDEO.to_tokens(vae_fit.encode(factors.levels, frames))
        tokens[start : start + len(group), :, :COMPONENTS] = (latents - mean) / std
    return tokens


def mixed_levels(normal: Tensor, uniform: Tensor, choice: Tensor) -> Tensor:
    """Noise levels from standard normal and uniform numbers: mostly logit-normal, some uniform."""
    return torch.where(choice < 0.1, uniform, (normal * 1.2 + 0.4).sigmoid())


def weighted_error(velocity: Tensor, wanted: Tensor, levels: Tensor) -> Tensor:
    """Weighted mean square of the video's error: all [B, N, 128], levels [B, N] or [B, 1]; clean tokens don't
    count, and channels that are always zero count little."""
    weight = torch.full((wanted.shape[-1],), DEAD_CHANNEL_WEIGHT)
    weight[:COMPONENTS] = 1
    weight = weight * (levels > 0)[..., None].expand(*wanted.shape[:2], 1)
    return ((velocity - wanted).square() * weight).sum() / weight.sum()


def draw_sigmas(count: int, generator: torch.Generator) -> Tensor:
    """Noise levels per token [count, N]: mostly logit-normal, some uniform, some frames clean."""
    normal = torch.randn(count, generator=generator)
    uniform, choice, first = torch.rand(3, count, generator=generator)
    sigmas = mixed_levels(normal, uniform, choice)[:, None].repeat(1, LATENT.tokens)
    sigmas[first < CLEAN_FIRST_FRAME, : LATENT.height * LATENT.width] = 0
    return sigmas


def flow_matching_loss(
    models: Models, clean: Tensor, prompts: list[str], generator: torch.Generator
) -> Tensor:
    """Weighted mean square of the velocity's error; `clean` is [B, N, 128]."""
    sigmas = draw_sigmas(len(clean), generator)
    noise = torch.randn(clean.shape, generator=generator)
    noisy = torch.lerp(clean, noise, sigmas[..., None])
    embeds, mask = models.encode(prompts)
    # The fused attention kernel is slow at so few tokens.
    with torch.autocast("cpu", torch.bfloat16), sdpa_kernel(SDPBackend.MATH):
        velocity = models.transformer(
            hidden_states=noisy,
            encoder_hidden_states=embeds,
            timestep=sigmas * 1000,
            encoder_attention_mask=mask,
            video_coords=VIDEO.positions(LATENT, torch.full((len(clean),), clips.FPS)),
            return_dict=False,
        )[0].float()
    return weighted_error(velocity, noise - clean, sigmas)


def pretrain(settings: Settings, factors: VaeFactors) -> None:
    """Trains for `settings.steps`, printing the loss, and writes both models."""
    started = time.monotonic()
    torch.manual_seed(settings.seed)
    tokens, specs = drawn_once(
        settings, lambda: encoded_clips(factors, settings.clip_count, settings.seed + 1)
    )
    print(f"{len(tokens)} clips encoded after {time.monotonic() - started:.0f} s", flush=True)
    models = Models.new(settings.output)

    def losses(draws: Draws) -> dict[str, Tensor]:
        index = torch.randint(len(tokens), (settings.batch_size,), generator=draws.numbers)
        prompts = [training_caption(specs[i], draws.words) for i in index.tolist()]
        return {"loss": flow_matching_loss(models, tokens[index], prompts, draws.numbers)}

    Training(settings, models.parameters(), Draws.seeded(settings.seed)).run(losses, models.save)
