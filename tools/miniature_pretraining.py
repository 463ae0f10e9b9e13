"""Trains the miniature's transformer and text encoder together, by flow matching.

Shapes: B batch, N tokens of a clip, L text tokens.
"""

import math
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
from ltxv_train_core.storage.tensors import write_safetensors

from . import miniature_vae_fit as vae_fit
from .miniature_tokenizer import NEUTRAL_WORDS

LEARNING_RATE = 1e-3
WARMUP_STEPS = 100
CONSTANT_SHARE = 0.3
FINAL_SHARE = 0.02
EMA_DECAY = 0.998
DEAD_CHANNEL_WEIGHT = 0.15
NO_CAPTION, NO_MOTION, NO_SHAPE, JUNK_WORD = 0.10, 0.10, 0.05, 0.15
CLEAN_FIRST_FRAME = 0.12
CAPTION_TOKENS = 18
LATENT = GRID.latent(clips.SIZE)
VIDEO = VideoStream(shipped.CAUSAL)


@dataclass(frozen=True)
class Settings:
    """`snapshot_seconds` is the time between two writes of the averaged weights into `output`."""

    output: Path
    steps: int
    clip_count: int
    batch_size: int
    seed: int
    snapshot_seconds: float


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


class Average:
    """Exponential moving average of parameters, quick to follow in the beginning."""

    def __init__(self, parameters: list[nn.Parameter]):
        self._parameters = parameters
        self._values = [p.detach().clone() for p in parameters]
        self._updates = 0

    @torch.no_grad()
    def update(self) -> None:
        self._updates += 1
        decay = min(EMA_DECAY, self._updates / (self._updates + 9))
        torch._foreach_lerp_(self._values, self._parameters, 1 - decay)

    @torch.no_grad()
    def swap(self) -> None:
        """Exchanges the parameters with their average; the second call puts them back."""
        for value, parameter in zip(self._values, self._parameters, strict=True):
            kept = parameter.detach().clone()
            parameter.copy_(value)
            value.copy_(kept)


def training_caption(spec: clips.ClipSpec, rng: random.Random) -> str:
    kind = rng.random()
    if kind < NO_CAPTION:
        return ""
    text = clips.caption(spec, with_motion=kind >= NO_CAPTION + NO_MOTION)
    if NO_CAPTION + NO_MOTION <= kind < NO_CAPTION + NO_MOTION + NO_SHAPE:
        text = text.replace(spec.shape, "shape")
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
    tokens = torch.zeros(count, LATENT.tokens, len(factors.latents_std))
    mean, std = (s[:COMPONENTS] for s in (factors.latents_mean, factors.latents_std))
    for start in range(0, count, 16):
        group = specs[start : start + 16]
        frames = torch.stack([vae_fit.to_tensor(clips.render(spec).frames) for spec in group])
        latents = VIDEO.to_tokens(vae_fit.encode(factors.levels, frames))
        tokens[start : start + len(group), :, :COMPONENTS] = (latents - mean) / std
    return tokens, specs


def learning_rate(step: int, steps: int) -> float:
    warmup = min(1.0, (step + 1) / WARMUP_STEPS)
    progress = max(0.0, step / steps - CONSTANT_SHARE) / (1 - CONSTANT_SHARE)
    cosine = 0.5 * (1 + math.cos(math.pi * progress))
    return LEARNING_RATE * warmup * (FINAL_SHARE + (1 - FINAL_SHARE) * cosine)


def draw_sigmas(count: int, generator: torch.Generator) -> Tensor:
    """Noise levels per token [count, N]: mostly logit-normal, some uniform, some frames clean."""
    logits = torch.randn(count, generator=generator) * 1.2 + 0.4
    uniform, choice, first = torch.rand(3, count, generator=generator)
    sigmas = torch.where(choice < 0.1, uniform, logits.sigmoid())
    sigmas = sigmas[:, None].repeat(1, LATENT.tokens)
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
    weight = torch.full((clean.shape[-1],), DEAD_CHANNEL_WEIGHT)
    weight[:COMPONENTS] = 1
    weight = weight * (sigmas > 0)[..., None]
    return ((velocity - (noise - clean)).square() * weight).sum() / weight.sum()


def optimizer_for(parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    matrices = [p for p in parameters if p.ndim > 1]
    vectors = [p for p in parameters if p.ndim <= 1]
    groups = [
        {"params": matrices, "weight_decay": 0.01},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=LEARNING_RATE, betas=(0.9, 0.98), fused=True)


def save(models: Models, output: Path) -> None:
    for module, name in (
        (models.transformer, shipped.TRANSFORMER_FILE),
        (models.text_encoder, shipped.TEXT_ENCODER_FILE),
    ):
        state = {k: v.bfloat16() for k, v in module.state_dict().items() if "embed_tokens" not in k}
        write_safetensors(output / name, state, {"format": "pt"})


def pretrain(settings: Settings, factors: VaeFactors) -> None:
    """Trains for `settings.steps`, printing the loss, and writes both models."""
    started = saved = time.monotonic()
    torch.manual_seed(settings.seed)
    generator = torch.Generator().manual_seed(settings.seed)
    rng = random.Random(settings.seed)
    tokens, specs = encoded_clips(factors, settings.clip_count, settings.seed + 1)
    print(f"{len(tokens)} clips encoded after {time.monotonic() - started:.0f} s", flush=True)
    models = Models.new(settings.output)
    parameters = models.parameters()
    optimizer = optimizer_for(parameters)
    average = Average(parameters)
    losses: list[float] = []
    for step in range(1, settings.steps + 1):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step - 1, settings.steps)
        index = torch.randint(len(tokens), (settings.batch_size,), generator=generator)
        prompts = [training_caption(specs[i], rng) for i in index.tolist()]
        loss = flow_matching_loss(models, tokens[index], prompts, generator)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        average.update()
        losses.append(loss.item())
        now = time.monotonic()
        if step % 100 == 0:
            mean = sum(losses[-100:]) / 100
            print(f"step {step} loss {mean:.4f} {now - started:.0f} s", flush=True)
        if step == settings.steps or now - saved > settings.snapshot_seconds:
            average.swap()
            save(models, settings.output)
            average.swap()
            saved = now
