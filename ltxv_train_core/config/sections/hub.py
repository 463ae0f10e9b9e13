from typing import ClassVar

from pydantic import model_validator

from ..base import Section, option


class HubConfig(Section):
    """The section `hub`."""

    summary: ClassVar[str] = "Upload of the finished LoRA to the Hugging Face Hub."

    push_to_hub: bool = option(
        False,
        "Upload LoRA, configuration and samples when training ends. If the repository is not allowed "
        "on this machine yet, the upload waits and the node asks. The token comes from HF_TOKEN or "
        "`hf auth login`, never from a file of the run.",
    )
    hub_model_id: str | None = option(
        None,
        'Repository to upload to, as "username/name".',
        pattern=r"^[\w.\-]+/[\w.\-]+$",
        allowed='"username/name", of letters, digits, _ - and .',
    )
    private: bool = option(
        True, "Create the repository as private. An existing repository is not changed."
    )

    @model_validator(mode="after")
    def _where_to(self) -> "HubConfig":
        if self.push_to_hub and not self.hub_model_id:
            raise ValueError('hub_model_id: give "username/name", or switch push_to_hub off')
        return self
