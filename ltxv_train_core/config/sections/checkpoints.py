from typing import ClassVar, Literal

from ..base import Section, option


class CheckpointsConfig(Section):
    """The section `checkpoints`."""

    summary: ClassVar[str] = (
        "When checkpoints are saved, how many stay on disk, and the format of the LoRA files."
    )

    interval: int | None = option(
        None, "Steps between two checkpoints. The last step always writes one.", ge=1, le=10_000_000
    )
    keep_last_n: int = option(
        5, "Number of checkpoints to keep, the newest ones. -1 keeps all.", ge=-1, le=10_000
    )
    lora_dtype: Literal["float32", "bf16"] = option(
        "float32",
        "Number format of the weights in LoRA files; bf16 halves their size and rounds them. "
        "Training itself keeps float32.",
        advanced=True,
    )
    write_kohya: bool = option(
        False,
        "Beside each LoRA file write one with kohya's names and alpha keys (-kohya) into the run's "
        "folder.",
        advanced=True,
    )
    write_diffusers: bool = option(
        False,
        "Beside each LoRA file write one with diffusers' names and adapter metadata (-diffusers) "
        "into the run's folder; of full training, a folder in the diffusers layout with the "
        "transformer alone.",
        advanced=True,
    )
    embed_workflow: bool = option(
        True,
        "Write the training graph into each LoRA file, without folders and accounts. A LoRA file that "
        "is dropped on ComfyUI's canvas opens the graph.",
        advanced=True,
    )

    @property
    def other_forms(self) -> tuple[Literal["kohya", "diffusers"], ...]:
        """Forms of LoRA files to write beside ComfyUI's."""
        kohya: tuple[Literal["kohya"], ...] = ("kohya",) if self.write_kohya else ()
        return (*kohya, "diffusers") if self.write_diffusers else kohya
