from typing import ClassVar

from pydantic import model_validator

from .section import Section, option


class HubConfig(Section):
    summary: ClassVar[str] = "Upload of the finished LoRA to the Hugging Face Hub."

    push_to_hub: bool = option(False, "Upload the LoRA when training ends.")
    hub_model_id: str | None = option(None, 'Repository to upload to, as "username/name".')

    @model_validator(mode="after")
    def _where_to(self) -> "HubConfig":
        if self.push_to_hub and not self.hub_model_id:
            raise ValueError('hub_model_id: give "username/name", or switch push_to_hub off')
        return self
