"""What becomes of a caption before it is encoded: several in one text, and openings that say nothing."""

import re

SEPARATOR = re.compile(r"^[ \t]*-{3,}[ \t]*$", re.MULTILINE)

_NOUN = (
    r"(?:short |brief )?(?:video(?: clip)?|clip|footage|animation|animated sequence|scene|"
    r"image|picture|photo(?:graph)?)"
)
_VERB = (
    r"(?:shows|depicts|features|captures|highlights|introduces|presents|displays|showcases|"
    r"portrays|illustrates)"
)
_OPENING = re.compile(
    rf"(?:caption\s*:|in (?:the|this) {_NOUN}\s*,(?:\s*we (?:can )?see\b)?|"
    rf"(?:the|this) {_NOUN} {_VERB}(?: (?:us|that)\b)?)[\s:,]*",
    re.IGNORECASE,
)


def split_captions(text: str) -> tuple[str, ...]:
    """The captions of one text: a line of nothing but three or more dashes separates them."""
    return tuple(part for part in map(str.strip, SEPARATOR.split(text)) if part)


def with_speech(caption: str, speech: str, template: str) -> str:
    """A caption with what is said, where a template has `{caption}` and `{speech}`."""
    parts = {"{caption}": caption, "{speech}": speech}
    return re.sub(r"\{caption\}|\{speech\}", lambda found: parts[found.group()], template).strip()


def without_opening(caption: str) -> str:
    """Removes what language models like to begin with: "The video shows", "In this clip, we see".

    A caption of nothing else is left as it is.
    """
    rest = caption
    while match := _OPENING.match(rest):
        rest = rest[match.end() :]
    return rest or caption
