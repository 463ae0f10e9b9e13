"""What encodes for an LTX-2.x model that has no such parts of its own here: ComfyUI's nodes. No torch."""

from ..model import MissingPart, Part
from ..names import AUDIO_VAE, TEXT_ENCODER, VAE

NEEDED = {
    "2.0": "Gemma 3 12B with the text projection of LTX-2",
    "2.3": "Gemma 3 12B with the text projection of LTX-2.3",
    "2.5": "the Gemma 4 12B of LTX-2.5",
}
_ON_CANVAS = {
    VAE: "its video VAE is taken from the canvas: connect `vae` of Preprocess LTXV Dataset to Load Checkpoint, or "
    "to Load VAE with the file that was published beside the model",
    AUDIO_VAE: "its audio VAE is taken from the canvas: connect `audio_vae` of Preprocess LTXV Dataset to Load LTXV "
    "Audio VAE with the checkpoint, or to Load VAE with the file that was published beside the model; or switch "
    "with_sound off",
    TEXT_ENCODER: "its text encoder is taken from the canvas: connect `clip` of Preprocess LTXV Dataset to Load "
    "LTXV Audio Text Encoder with {text_encoder}",
}
_NO_SAMPLES = "; samples while training can't be made of it yet: leave validation.prompts empty"


def parts_on_canvas(source: str, text_encoder: str, connectors: Part) -> dict[str, Part]:
    """The parts that a model lacks, each with where to get it.

    Args:
        source: the option and the model, for messages.
        text_encoder: which one it needs, in words.
        connectors: what a text encoder's features go through.
    """
    where = _ON_CANVAS | {TEXT_ENCODER: _ON_CANVAS[TEXT_ENCODER].format(text_encoder=text_encoder)}
    return {
        part: MissingPart(
            f"{source}: {told}{_NO_SAMPLES}", connectors if part == TEXT_ENCODER else None
        )
        for part, told in where.items()
    }
