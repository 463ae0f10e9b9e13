import torch
from diffusers import LTXVideoTransformer3DModel

from ltxv_train_core.families.ltxv.video_format import GRID
from ltxv_train_core.families.ltxv.video_stream import VideoStream
from ltxv_train_core.geometry import LatentSize, VideoSize
from tests.helpers.video import (
    latent_size,
    positions,
    to_latents,
    to_tokens,
)

SIZE = LatentSize(3, 2, 4)


def test_tokens_come_in_the_order_frame_row_column_and_back():
    latents = torch.arange(2 * 5 * SIZE.tokens).reshape(2, 5, *SIZE)
    tokens = to_tokens(latents)
    assert tokens.shape == (2, 24, 5)
    assert torch.equal(tokens[0, 1 * 8 + 1 * 4 + 3], latents[0, :, 1, 1, 3])
    assert torch.equal(to_latents(tokens, latent_size(latents)), latents)


def test_causal_positions_count_the_first_frame_alone():
    fps = torch.tensor([25.0, 10.0])
    causal = positions(SIZE, fps, causal=True)
    assert causal.shape == (2, 3, 24)
    assert torch.allclose(causal[0, 0, ::8], torch.tensor([0.0, 1 / 25, 9 / 25]))
    assert torch.allclose(causal[1, 0, ::8], torch.tensor([0.0, 0.1, 0.9]))
    assert causal[0, 1, :8].tolist() == [0, 0, 0, 0, 32, 32, 32, 32]
    assert causal[0, 2, :8].tolist() == [0, 32, 64, 96] * 2


def test_plain_positions_are_those_of_the_diffusers_model():
    model = LTXVideoTransformer3DModel(
        num_attention_heads=2,
        attention_head_dim=48,
        num_layers=1,
        cross_attention_dim=96,
        caption_channels=8,
    )
    hidden = torch.zeros(1, 24, 128)
    theirs = model.rope(hidden, 3, 2, 4, rope_interpolation_scale=(8 / 25, 32, 32))
    ours = model.rope(hidden, video_coords=positions(SIZE, torch.tensor([25.0]), causal=False))
    for a, b in zip(theirs, ours, strict=True):
        assert (a - b).abs().max() < 1e-5


def test_references_are_causal_whatever_the_model():
    fps = torch.tensor([25.0])
    assert torch.equal(
        VideoStream(causal=False).reference_positions(SIZE, SIZE, fps),
        positions(SIZE, fps, causal=True),
    )
    assert not torch.equal(
        VideoStream(causal=False).reference_positions(SIZE, SIZE, fps),
        positions(SIZE, fps, causal=False),
    )


def test_latent_sizes():
    assert GRID.latent(VideoSize.parse("768x448x89")) == LatentSize(12, 14, 24)
    assert GRID.latent(VideoSize(32, 32, 1)).tokens == 1
