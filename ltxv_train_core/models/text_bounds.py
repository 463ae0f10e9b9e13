"""How long a text for the text encoder may be: its work grows with the square of the tokens.

Imports no torch: captions are looked at before a model is.
"""

from ..errors import DataError, shown

# Some tokenizers take quadratic time for a long text without spaces.
MOST_CHARACTERS = 16_000
# T5's attention is quadratic in memory; published models read 128 to 256.
MOST_TOKENS = 1024


def require_few_characters(text: str) -> None:
    """Raises `DataError` for a text that isn't even cut into tokens."""
    if len(text) > MOST_CHARACTERS:
        raise DataError(
            f"the text {shown(text, 40)} has {len(text):,} characters, and at most "
            f"{MOST_CHARACTERS:,} are encoded: shorten it"
        )


def require_few_tokens(text: str, tokens: int) -> None:
    """Raises `DataError` for a text of more tokens than are encoded at once."""
    if tokens > MOST_TOKENS:
        raise DataError(
            f"the text {shown(text, 40)} has {tokens:,} tokens, and at most {MOST_TOKENS:,} are "
            "encoded: shorten it"
        )
