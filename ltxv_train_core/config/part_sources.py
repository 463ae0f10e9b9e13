"""Options that name a part of the base model in place of its own."""

PART_SOURCES = (
    "text_encoder_source",
    "vae_source",
    "audio_vae_source",
    "text_projection_source",
)


class NamesParts:
    """A section with those options."""

    def part_sources(self) -> dict[str, str | None]:
        """What each option names; None: the model's own part."""
        return {name: getattr(self, name) for name in PART_SOURCES}
