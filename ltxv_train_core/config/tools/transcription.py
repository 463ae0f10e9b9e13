"""What is said in clips, written down by Whisper. Widgets and command line derive from these fields."""

from pathlib import Path
from typing import Literal

from ..base import Section, option


class TranscribeSettings(Section):
    """What to transcribe, and how."""

    source: Path = option(
        ...,
        "A folder of videos or sounds, or a metadata file (csv, json, jsonl). Clips that have a text in the column "
        "speech are not transcribed again.",
    )
    model: str = option(
        "Systran/faster-whisper-large-v3",
        "A Whisper model in CTranslate2's format, as faster-whisper reads it: a folder, or a Hugging Face repository "
        "(downloaded once).",
        min_length=1,
    )
    output: Path | None = option(
        None,
        "Metadata file to write, .json; by default dataset.json in the folder, or the name of the "
        "metadata and -transcribed. Captions and texts that you edit in it stay.",
        advanced=True,
    )
    language: str = option(
        "",
        "The language that is spoken, as Whisper calls it (en, de, ja, ...). Empty: it is heard from each clip.",
        pattern=r"^([a-z]{2,3})?$",
        allowed="empty, or two or three small letters",
    )
    precision: Literal["auto", "float32", "float16", "int8"] = option(
        "auto",
        "Number format of the model; auto takes the file's own where the device computes in it.",
        advanced=True,
    )
    on_cpu: bool = option(
        False,
        "Transcribe on the CPU. CTranslate2 needs CUDA libraries of its own, which may be missing.",
        advanced=True,
    )
    caption_column: str = option(
        "caption", "Column (or JSON key) with the captions.", min_length=1, advanced=True
    )
    video_column: str = option(
        "media_path", "Column with the paths of the media.", min_length=1, advanced=True
    )
    audio_column: str = option(
        "audio",
        "Column with files that hold the clips' sound, in place of their own.",
        advanced=True,
    )

    @property
    def metadata(self) -> Path:
        """The file that is written."""
        if self.output is not None:
            return self.output
        if self.source.is_dir():
            return self.source / "dataset.json"
        return self.source.with_name(f"{self.source.stem}-transcribed.json")
