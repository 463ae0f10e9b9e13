"""Captions written by a vision-language model. Widgets and command line derive from these fields."""

from pathlib import Path

from ..base import Section, option

INSTRUCTION = (
    "Describe this video in two or three sentences, for someone who wants to recreate it: what is "
    "to be seen, how it moves, the camera, the light and the style. Write plainly, without an "
    "introduction."
)


class CaptionSettings(Section):
    """What to caption, and how."""

    source: Path = option(
        ...,
        "A folder of videos and images, or a metadata file (csv, json, jsonl). Clips with a caption "
        "are not captioned again.",
    )
    model: str = option(
        "Qwen/Qwen2.5-VL-7B-Instruct",
        "A Qwen2.5-VL model: a folder, or a Hugging Face repository (downloaded once).",
        min_length=1,
    )
    output: Path | None = option(
        None,
        "Metadata file to write, .json; by default dataset.json in the folder, or the name of the "
        "metadata and -captioned. Captions that you edit in it stay.",
        advanced=True,
    )
    instruction: str = option(
        INSTRUCTION,
        "The instruction that the model gets with each clip.",
        multiline=True,
        min_length=1,
    )
    frames_per_second: float = option(
        2.0,
        "Frames per second of the clip that the model sees.",
        ge=0.1,
        le=60,
        step=0.1,
        advanced=True,
    )
    max_frames: int = option(
        32,
        "Maximum number of frames of a clip. A longer clip is sampled at fewer frames per second.",
        ge=1,
        le=768,
        advanced=True,
    )
    max_new_tokens: int = option(
        200, "Maximum number of tokens of a caption.", ge=1, le=4096, advanced=True
    )
    load_in_8bit: bool = option(False, "Load the model in 8 bits (bitsandbytes): less memory.")
    remove_llm_prefixes: bool = option(
        True,
        'Remove openings such as "The video shows" or "In this clip," from the captions.',
        advanced=True,
    )
    caption_column: str = option(
        "caption", "Column (or JSON key) with the captions.", min_length=1, advanced=True
    )
    video_column: str = option(
        "media_path", "Column with the paths of the media.", min_length=1, advanced=True
    )
    reference_column: str = option(
        "reference_path",
        "Column with reference videos. It is copied to the new file.",
        advanced=True,
    )
    mask_column: str = option(
        "mask_path", "Column with masks. It is copied to the new file.", advanced=True
    )

    @property
    def metadata(self) -> Path:
        """The file that is written."""
        if self.output is not None:
            return self.output
        if self.source.is_dir():
            return self.source / "dataset.json"
        return self.source.with_name(f"{self.source.stem}-captioned.json")
