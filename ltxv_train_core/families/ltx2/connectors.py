"""The connectors of LTX-2.x: what they make of a text encoder's features, before the transformer reads them.

ComfyUI runs them for each prompt it samples. Here they run once, while a data set is encoded, so that neither
they nor the text encoder are in memory while training.

Shapes: L tokens of a prompt, S tokens with registers, D width of a stream's features.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ...errors import ModelError
from ..names import AUDIO_TEXT, VIDEO_TEXT
from .formats import TEXT_TOKENS

if TYPE_CHECKING:
    from diffusers.pipelines.ltx2.connectors import LTX2ConnectorTransformer1d


class Connectors(nn.Module):
    """One for each stream."""

    def __init__(self, video: Mapping[str, Any], audio: Mapping[str, Any]):
        """
        Args:
            video, audio: options of `LTX2ConnectorTransformer1d`.
        """
        from diffusers.pipelines.ltx2.connectors import LTX2ConnectorTransformer1d

        super().__init__()
        self.video_connector = LTX2ConnectorTransformer1d(**video)
        self.audio_connector = LTX2ConnectorTransformer1d(**audio)

    @property
    def widths(self) -> tuple[int, int]:
        """D of the video and of the sound."""
        return self.video_connector.inner_dim, self.audio_connector.inner_dim

    @torch.no_grad()
    def finish(self, features: Tensor) -> dict[str, Tensor]:
        """What the transformer reads of a prompt, each [S, D].

        Args:
            features: [L, D of the video + D of the sound], or [L, D] where both read the same. Where both
                do and have twice the width, ComfyUI has finished them: its text encoder of LTX-2.0 does.

        Raises:
            ModelError: they have another width.
        """
        video, audio = self.widths
        width = features.shape[-1]
        if width not in (video + audio, *({video} & {audio})):
            raise ModelError(
                f"the text encoder gives {width} numbers for each token, and the model's connectors read "
                f"{video} for the video and {audio} for the sound: connect the text encoder of this model"
            )
        if width == video == audio:
            parts = (features, features)
        else:
            parts = features.split([video, audio], -1)
        if width == 2 * video == 2 * audio:
            return dict(zip((VIDEO_TEXT, AUDIO_TEXT), parts, strict=True))
        connectors = (self.video_connector, self.audio_connector)
        return {
            name: _finished(connector, part)
            for name, connector, part in zip(
                (VIDEO_TEXT, AUDIO_TEXT), connectors, parts, strict=True
            )
        }


def _finished(connector: "LTX2ConnectorTransformer1d", features: Tensor) -> Tensor:
    """[L, D] -> [S, D]: registers fill the places behind the prompt, each the one of its place."""
    registers = connector.learnable_registers
    given = features.to(registers.device, registers.dtype)
    copies = -(-max(TEXT_TOKENS, len(given)) // len(registers))
    hidden = torch.cat([given, registers.repeat(copies, 1)[len(given) :]])[None]
    turn = connector.rope(1, hidden.shape[1], device=hidden.device)
    for block in connector.transformer_blocks:
        hidden = block(hidden, rotary_emb=turn)
    finished: Tensor = connector.norm_out(hidden)[0]
    return finished
