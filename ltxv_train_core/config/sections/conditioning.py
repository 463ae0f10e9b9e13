from typing import ClassVar, Literal

from ..base import Section, option

ConditioningMode = Literal["none", "reference_video", "reference_audio", "reference_video_audio"]
Modalities = Literal["joint", "video", "audio", "audio_to_video", "video_to_audio"]

_VIDEO, _AUDIO = "video", "audio"


class ConditioningConfig(Section):
    """The section `conditioning`."""

    summary: ClassVar[str] = (
        "Conditions besides the caption (first frames, references, masks), and caption dropout."
    )

    mode: ConditioningMode = option(
        "none",
        "none: an ordinary LoRA. reference_video: an IC-LoRA that follows a second video. For a model with sound, "
        "reference_audio: one that follows a second sound; reference_video_audio: both.",
    )
    first_frame_conditioning_p: float = option(
        0.1,
        "Probability that a sample keeps its first frame clean (image to video), drawn for each "
        "sample.",
        ge=0.0,
        le=1.0,
        step=0.01,
    )
    reference_latents_dir: str = option(
        "reference_latents",
        "Folder inside the preprocessed data with the reference videos' latents.",
        min_length=1,
        advanced=True,
    )
    prefix_conditioning_p: float = option(
        0.0,
        "Probability that a sample keeps its beginning clean (to extend videos forwards).",
        ge=0.0,
        le=1.0,
        step=0.01,
        advanced=True,
    )
    prefix_frames: int = option(
        2,
        "Latent frames of the clean beginning; n latent frames are 8n - 7 frames.",
        ge=1,
        le=1024,
        advanced=True,
    )
    suffix_conditioning_p: float = option(
        0.0,
        "Probability that a sample keeps its end clean (to extend videos backwards).",
        ge=0.0,
        le=1.0,
        step=0.01,
        advanced=True,
    )
    suffix_frames: int = option(
        2,
        "Latent frames of the clean end; n latent frames are 8n frames.",
        ge=1,
        le=1024,
        advanced=True,
    )
    spatial_crop_conditioning_p: float = option(
        0.0,
        "Probability that a sample keeps a rectangle of its frames clean, at a random position "
        "(to extend videos sideways: out-painting).",
        ge=0.0,
        le=1.0,
        step=0.01,
        advanced=True,
    )
    spatial_crop_share: float = option(
        0.5,
        "Area of the clean rectangle, as a share of the frame.",
        ge=0.01,
        le=0.99,
        step=0.01,
        advanced=True,
    )
    mask_conditioning_p: float = option(
        0.0,
        "Probability that a sample keeps clean what is black in its mask (to replace a part of a "
        "video: in-painting).",
        ge=0.0,
        le=1.0,
        step=0.01,
        advanced=True,
    )
    masks_dir: str = option(
        "masks",
        "Folder inside the preprocessed data with the masks.",
        min_length=1,
        advanced=True,
    )

    caption_dropout_p: float = option(
        0.0,
        "Probability that a sample is trained with an empty caption, so that classifier-free guidance "
        "keeps working; 0.1 is usual.",
        ge=0.0,
        le=1.0,
        step=0.01,
    )
    modalities: Modalities = option(
        "joint",
        "For a model with sound: what is learned. joint: video and sound together, as far as clips have sound. "
        "video, audio: that alone; the model sees nothing of the other. audio_to_video: videos for a given "
        "sound, which stays clean. video_to_audio: sounds for a given video.",
    )

    audio_prefix_conditioning_p: float = option(
        0.0,
        "For a model with sound: probability that a sample keeps the beginning of its sound clean (to extend "
        "sounds forwards).",
        ge=0.0,
        le=1.0,
        step=0.01,
        advanced=True,
    )
    audio_prefix_latents: int = option(
        25,
        "Latents of the sound's clean beginning; 25 are a second.",
        ge=1,
        le=100_000,
        advanced=True,
    )
    audio_suffix_conditioning_p: float = option(
        0.0,
        "For a model with sound: probability that a sample keeps the end of its sound clean (to extend sounds "
        "backwards).",
        ge=0.0,
        le=1.0,
        step=0.01,
        advanced=True,
    )
    audio_suffix_latents: int = option(
        25,
        "Latents of the sound's clean end; 25 are a second.",
        ge=1,
        le=100_000,
        advanced=True,
    )
    audio_mask_conditioning_p: float = option(
        0.0,
        "For a model with sound: probability that a sample keeps clean what its mask of the sound doesn't name "
        "(to replace a part of a sound). The data set needs the column audio_mask.",
        ge=0.0,
        le=1.0,
        step=0.01,
        advanced=True,
    )

    @property
    def reference_streams(self) -> frozenset[str]:
        """Streams that follow a reference."""
        named = self.mode.removeprefix("reference_").split("_")
        return frozenset(named) if self.mode != "none" else frozenset()

    @property
    def seen_streams(self) -> frozenset[str] | None:
        """What each clip must have and the model sees; None: what there is."""
        if self.modalities == "joint":
            return None
        alone = frozenset({self.modalities})
        return alone if self.modalities in (_VIDEO, _AUDIO) else frozenset({_VIDEO, _AUDIO})

    @property
    def given_stream(self) -> str | None:
        """The stream that stays clean as a whole, and is not learned."""
        return {"audio_to_video": _AUDIO, "video_to_audio": _VIDEO}.get(self.modalities)

    def learns(self, stream: str) -> bool:
        """Whether a stream is learned of clips that have it."""
        seen = self.seen_streams
        return (seen is None or stream in seen) and stream != self.given_stream

    @property
    def gives_parts_of_videos(self) -> bool:
        """Whether some samples keep a first frame, a beginning or an end of their video clean."""
        chances = (self.first_frame_conditioning_p, self.prefix_conditioning_p)
        return any(chance > 0 for chance in (*chances, self.suffix_conditioning_p))

    def whole_clip_problems(self, longest: int, where: str) -> list[str]:
        """Beginnings and ends that would leave nothing of any clip to be learned, a line each.

        Args:
            longest: latent frames of the longest clip.
            where: of which data set.
        """
        return [
            f"conditioning.{name}_frames: {frames} latent frames stay clean, and the longest clip of "
            f"{where} has {longest}: choose fewer than that"
            for name, chance, frames in (
                ("prefix", self.prefix_conditioning_p, self.prefix_frames),
                ("suffix", self.suffix_conditioning_p, self.suffix_frames),
            )
            if chance > 0 and frames >= longest
        ]

    def whole_sound_problems(self, longest: int, where: str) -> list[str]:
        """The same of sounds.

        Args:
            longest: latents in time of the longest sound; 0 where there is none.
        """
        return [
            f"conditioning.audio_{name}_latents: {latents} latents stay clean, and the longest sound of {where} has "
            f"{longest}: choose fewer than that"
            for name, chance, latents in (
                ("prefix", self.audio_prefix_conditioning_p, self.audio_prefix_latents),
                ("suffix", self.audio_suffix_conditioning_p, self.audio_suffix_latents),
            )
            if chance > 0 and latents >= longest > 0
        ]

    @property
    def mask_folder(self) -> str | None:
        """The folder of masks that the data set must have, or None."""
        return self.masks_dir if self.mask_conditioning_p > 0 else None
