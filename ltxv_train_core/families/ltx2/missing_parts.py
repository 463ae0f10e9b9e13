"""The parts that an LTX-2.x model lacks, each with where to get it. No torch."""

from ..model import MissingPart, Part
from ..names import AUDIO_VAE, TEXT_ENCODER, VAE

NEEDED = {
    "2.0": "Gemma 3 12B with the text projection of LTX-2",
    "2.3": "Gemma 3 12B with the text projection of LTX-2.3",
    "2.5": "the Gemma 4 12B of LTX-2.5",
}
_WHERE = {
    VAE: "holds no video VAE: name the file that was published beside the model in vae_source, or connect `vae` of "
    "Preprocess LTXV Dataset to Load Checkpoint or to Load VAE",
    AUDIO_VAE: "holds no audio VAE with a vocoder: name the file that was published beside the model in "
    "audio_vae_source, or connect `audio_vae` of Preprocess LTXV Dataset to Load LTXV Audio VAE with the checkpoint "
    "or to Load VAE; or switch with_sound off",
    TEXT_ENCODER: "holds no text encoder: name {text_encoder} in text_encoder_source (ComfyUI's file in "
    "models/text_encoders, or a folder of transformers), or connect `clip` of Preprocess LTXV Dataset to Load LTXV "
    "Audio Text Encoder. Samples while training need it in text_encoder_source",
}


def missing_parts(source: str, text_encoder: str, connectors: Part) -> dict[str, Part]:
    """All that encodes, as missing.

    Args:
        source: the option and the model, for messages.
        text_encoder: which one it needs, in words.
        connectors: what a text encoder's features go through.
    """
    where = _WHERE | {TEXT_ENCODER: _WHERE[TEXT_ENCODER].format(text_encoder=text_encoder)}
    return {
        part: MissingPart(f"{source}: {told}", connectors if part == TEXT_ENCODER else None)
        for part, told in where.items()
    }
