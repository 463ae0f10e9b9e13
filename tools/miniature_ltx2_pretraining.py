"""Trains the second miniature's transformer, connectors and text encoder, by flow matching of both streams.

It starts from what the first miniature knows of pictures. Prompts have 32 or 1,024 tokens with their
registers. All registers are equal, so they count as one whose score grows by the logarithm of their
number: a training step sees the 24 tokens of a caption and that one.

Shapes: B batch, N video tokens, T audio tokens, L tokens of a caption, D width.
"""

import random
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from diffusers import LTX2VideoTransformer3DModel
from diffusers.pipelines.ltx2 import LTX2TextConnectors
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import PreTrainedTokenizerFast, T5EncoderModel

from ltxv_train_core.families.base import StreamInput, Text
from ltxv_train_core.families.ltx2.block import StreamContext, use_own_forward
from ltxv_train_core.families.ltx2.formats import AUDIO_BINS
from ltxv_train_core.families.ltx2.forward import velocities
from ltxv_train_core.families.ltx2.miniature import scenes, shipped, weights
from ltxv_train_core.families.ltx2.miniature.audio_vae import AudioFactors
from ltxv_train_core.families.ltx2.miniature.sounds import render_sound
from ltxv_train_core.families.ltx2.miniature.text_encoder import (
    TEXT_TOKENS,
    hidden_states,
    project,
)
from ltxv_train_core.families.ltx2.streams import AudioStream, VideoStream
from ltxv_train_core.families.ltxv.miniature import weights as first
from ltxv_train_core.families.names import AUDIO, AUDIO_TEXT, VIDEO, VIDEO_TEXT

from .miniature_audio_fit import LATENTS, mel_of
from .miniature_pretraining import (
    CLEAN_FIRST_FRAME,
    LATENT,
    encode_clips,
    mixed_levels,
    weighted_error,
    with_junk_word,
)
from .pretraining_loop import Draws, Settings, Training, drawn_once, save_part

STREAMS = {VIDEO: (VideoStream(), LATENT), AUDIO: (AudioStream(), (LATENTS, AUDIO_BINS))}
COMFYUI_TEXT_TOKENS = 1024
CAPTION_TOKENS = 24
CLEAN_AUDIO, CLEAN_VIDEO, SAME_LEVEL = 0.10, 0.10, 0.30
_OUTPUT_SHARE = 0.1
_NEW_LAYERS = ("to_gate_logits", "prompt_adaln.linear", "_scale_shift.linear", "_gate.linear")


@dataclass(frozen=True)
class Odds:
    """How often a caption leaves something out."""

    all: float
    motion: float
    color: float
    sound: float


# A clean stream tells what the caption leaves out.
JOINT, GIVEN = Odds(0.1, 0.1, 0.08, 0.1), Odds(0.3, 0.3, 0.5, 0.5)
NO_SHAPE = 0.06


class FoldedRegisters:
    """Lets one register stand for all, in every block that it is a hook of."""

    def __init__(self, transformer: LTX2VideoTransformer3DModel):
        self.bias: Tensor | None = None
        for block in transformer.transformer_blocks:
            block.register_forward_pre_hook(self._add_bias)

    def _add_bias(self, block: nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(
            replace(each, text_bias=self.bias) if isinstance(each, StreamContext) else each
            for each in arguments
        )


@dataclass(frozen=True)
class Models:
    transformer: LTX2VideoTransformer3DModel
    connectors: LTX2TextConnectors
    text_encoder: T5EncoderModel
    tokenizer: PreTrainedTokenizerFast
    registers: FoldedRegisters

    @classmethod
    def new(cls, tokenizer_folder: Path) -> "Models":
        tokenizer = weights.load_tokenizer(tokenizer_folder)
        transformer = weights.new_transformer().train()
        use_own_forward(transformer)
        models = cls(
            transformer,
            weights.new_connectors().train(),
            weights.new_text_encoder(len(tokenizer)).train(),
            tokenizer,
            FoldedRegisters(transformer),
        )
        _initialize(models)
        return models

    def parameters(self) -> list[nn.Parameter]:
        """What is trained: not the connectors' registers and attention, which stay without effect."""
        connectors = [
            parameter
            for name, parameter in self.connectors.named_parameters()
            if "learnable_registers" not in name and ".attn1." not in name
        ]
        return [*self.transformer.parameters(), *connectors, *self.text_encoder.parameters()]

    def save(self, folder: Path) -> None:
        save_part(self.transformer, folder / shipped.TRANSFORMER_FILE)
        save_part(self.connectors, folder / shipped.CONNECTORS_FILE)
        save_part(self.text_encoder, folder / shipped.TEXT_ENCODER_FILE)

    def encode(self, prompts: list[str], lengths: Tensor) -> Text:
        """Finished texts [B, L + 1, D], a register last, which counts as often as lengths [B] say."""
        tokens = self.tokenizer(
            prompts,
            padding="max_length",
            truncation=True,
            max_length=CAPTION_TOKENS,
            return_tensors="pt",
        )
        mask = tokens.attention_mask
        states = hidden_states(self.text_encoder, tokens.input_ids, mask)
        video, audio = project(self.connectors, states)
        counts = (lengths - mask.sum(1))[:, None]
        scores = torch.cat([mask, counts], dim=1).log().clamp(min=-1e4)
        self.registers.bias = scores[:, None, None]
        return Text(
            {
                VIDEO_TEXT: _connected(self.connectors.video_connector, video),
                AUDIO_TEXT: _connected(self.connectors.audio_connector, audio),
            },
            torch.ones(scores.shape, dtype=torch.bool),
            is_padded=False,
        )

    def velocities(
        self, tokens: dict[str, Tensor], levels: dict[str, Tensor], text: Text
    ) -> dict[str, Tensor]:
        """[B, N, 128] and [B, T, 128], float32."""
        fps = torch.full((len(tokens[VIDEO]),), scenes.FPS)
        inputs = {
            name: StreamInput(tokens[name], levels[name], stream.positions(shape, fps))
            for name, (stream, shape) in STREAMS.items()
        }
        found = velocities(self.transformer, inputs, text, torch.float32)
        return {name: velocity.float() for name, velocity in found.items()}


def _connected(connector: nn.Module, features: Tensor) -> Tensor:
    """What a connector without attention makes of features [B, L, D] and of a register behind them."""
    register = connector.learnable_registers[:1].expand(len(features), 1, -1)
    hidden = torch.cat([features, register], dim=1)
    for block in connector.transformer_blocks:
        hidden = hidden + block.ff(block.norm2(hidden))
    result: Tensor = connector.norm_out(hidden)
    return result


@torch.no_grad()
def _initialize(models: Models) -> None:
    """What is new acts little at first; connectors lose their attention; the rest is the first
    miniature's."""
    transformer = models.transformer
    for block in transformer.transformer_blocks:
        for prefix in ("", "audio_"):
            getattr(block, f"{prefix}prompt_scale_shift_table").zero_()
            getattr(block, f"{prefix}scale_shift_table")[8] = 1  # the gate of the text
        for name in ("video_a2v", "audio_a2v"):
            table = getattr(block, f"{name}_cross_attn_scale_shift_table")
            table.zero_()
            table[4] = 0.5  # the gate of the other stream
    for name, module in transformer.named_modules():
        if name.endswith(_NEW_LAYERS):
            module.weight.mul_(_OUTPUT_SHARE)
            module.bias.zero_()
    for connector in (models.connectors.video_connector, models.connectors.audio_connector):
        registers = connector.learnable_registers
        registers.copy_(torch.randn_like(registers[:1]).expand_as(registers))
        for block in connector.transformer_blocks:
            block.attn1.to_out[0].weight.zero_()
            block.attn1.to_out[0].bias.zero_()
    _take_over_transformer(transformer)
    _take_over_text_encoder(models)


def _take_over_transformer(transformer: LTX2VideoTransformer3DModel) -> None:
    """Copies what both layouts share. There neighbours are turned with each other, here halves of a
    head; and there a block has 6 rows of modulation, here 9."""
    own = transformer.state_dict()
    pairs = torch.arange(shipped.HEAD_WIDTH).view(-1, 2).T.flatten()
    order = (torch.arange(shipped.HEADS)[:, None] * shipped.HEAD_WIDTH + pairs).flatten()
    for name, value in first.load_transformer().state_dict().items():
        if name not in own:
            continue
        if ".attn1." in name and any(f".{part}" in name for part in ("to_q", "to_k", "norm_")):
            value = value[order]
        own[name][: len(value)] = value
        if "time_embed" in name:
            own[name][len(value) :] *= _OUTPUT_SHARE


def _take_over_text_encoder(models: Models) -> None:
    old, new = first.load_text_encoder(), models.text_encoder
    embedding = new.shared.weight
    known, spread = first.load_tokenizer().get_vocab(), old.shared.weight.std()
    rows = [
        old.shared.weight[known[piece]]
        if piece in known
        else torch.randn(embedding.shape[1]) * spread
        for piece, _ in sorted(models.tokenizer.get_vocab().items(), key=lambda item: item[1])
    ]
    state = {k: v for k, v in old.state_dict().items() if "shared" not in k and "embed_t" not in k}
    new.load_state_dict(state, strict=False)
    embedding.copy_(torch.stack(rows))


def training_caption(scene: scenes.Scene, rng: random.Random, odds: Odds) -> str:
    if rng.random() < odds.all:
        return ""
    text = scenes.caption(
        scene,
        with_motion=rng.random() >= odds.motion,
        with_color=rng.random() >= odds.color,
        with_sound=rng.random() >= odds.sound,
    )
    if rng.random() < NO_SHAPE:
        text = text.replace(scene.clip.shape, "shape", 1)
    return with_junk_word(text, rng)


@dataclass(frozen=True)
class EncodedScenes:
    """`video` [count, N, 128] and `audio` [count, T, 128] of scenes that aren't held out."""

    video: Tensor
    audio: Tensor
    scenes: list[scenes.Scene]

    @classmethod
    def drawn(cls, factors: AudioFactors, count: int, seed: int) -> "EncodedScenes":
        rng = random.Random(seed)
        drawn = [scenes.random_scene(rng, held_out=False) for _ in range(count)]
        audio = [
            factors.encode(
                mel_of([render_sound(scene, rng) for scene in drawn[start : start + 16]])
            )
            for start in range(0, count, 16)
        ]
        video = encode_clips(first.load_vae_factors(), [scene.clip for scene in drawn])
        return cls(video, torch.cat(audio).transpose(1, 2).flatten(2), drawn)


def draw_levels(count: int, generator: torch.Generator) -> tuple[dict[str, Tensor], list[bool]]:
    """Noise levels of both streams and which clips have a clean one.

    Levels are [count, 1], the same for all tokens, which takes half the time; but [count, N] for the
    video of a batch with clean first frames.
    """

    def drawn() -> Tensor:
        normal = torch.randn(count, generator=generator)
        return mixed_levels(normal, *torch.rand(2, count, generator=generator))

    video, audio = drawn(), drawn()
    kind = torch.rand(count, generator=generator)
    clean_audio = kind < CLEAN_AUDIO
    clean_video = (kind >= CLEAN_AUDIO) & (kind < CLEAN_AUDIO + CLEAN_VIDEO)
    given = clean_audio | clean_video
    audio = torch.where(~given & (kind < CLEAN_AUDIO + CLEAN_VIDEO + SAME_LEVEL), video, audio)
    of_video, of_audio = (video * ~clean_video)[:, None], (audio * ~clean_audio)[:, None]
    if float(torch.rand(1, generator=generator)) < CLEAN_FIRST_FRAME:
        of_video = of_video.repeat(1, LATENT.tokens)
        of_video[:, : LATENT.height * LATENT.width] = 0
    return {VIDEO: of_video, AUDIO: of_audio}, given.tolist()


def flow_matching_losses(
    models: Models, data: EncodedScenes, size: int, draws: Draws
) -> dict[str, Tensor]:
    """Mean squares of the velocities' errors on a batch."""
    index = torch.randint(len(data.scenes), (size,), generator=draws.numbers)
    clean = {VIDEO: data.video[index], AUDIO: data.audio[index]}
    levels, given = draw_levels(size, draws.numbers)
    prompts = [
        training_caption(data.scenes[i], draws.words, GIVEN if is_given else JOINT)
        for i, is_given in zip(index.tolist(), given, strict=True)
    ]
    is_short = torch.rand(size, generator=draws.numbers) < 0.5
    lengths = torch.where(is_short, TEXT_TOKENS, COMFYUI_TEXT_TOKENS)
    noise = {n: torch.randn(c.shape, generator=draws.numbers) for n, c in clean.items()}
    noisy = {n: torch.lerp(c, noise[n], levels[n][..., None]) for n, c in clean.items()}
    # The fused attention kernel is slow at so few tokens.
    with torch.autocast("cpu", torch.bfloat16), sdpa_kernel(SDPBackend.MATH):
        found = models.velocities(noisy, levels, models.encode(prompts, lengths))
    wanted = {n: noise[n] - c for n, c in clean.items()}
    judged = (levels[AUDIO] > 0).float()[..., None].expand_as(wanted[AUDIO])
    audio_error = (found[AUDIO] - wanted[AUDIO]).square() * judged
    return {
        VIDEO: weighted_error(found[VIDEO], wanted[VIDEO], levels[VIDEO]),
        AUDIO: audio_error.sum() / judged.sum(),
    }


def pretrain(settings: Settings, factors: AudioFactors) -> None:
    """Trains for `settings.steps`, printing the losses, and writes the models."""
    started = time.monotonic()
    torch.manual_seed(settings.seed)
    data = drawn_once(
        settings, lambda: EncodedScenes.drawn(factors, settings.clip_count, settings.seed + 1)
    )
    print(f"{len(data.scenes)} scenes encoded after {time.monotonic() - started:.0f} s", flush=True)
    models = Models.new(settings.output)

    def losses(draws: Draws) -> dict[str, Tensor]:
        return flow_matching_losses(models, data, settings.batch_size, draws)

    Training(settings, models.parameters(), Draws.seeded(settings.seed)).run(losses, models.save)
