"""Text as people save it: UTF-8, UTF-16 and UTF-32 with a byte order mark, and Windows' Western European."""

import codecs
import string

UTF8 = "UTF-8"
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig", UTF8),
    (codecs.BOM_UTF32_LE, "utf-32", "UTF-32"),  # begins as UTF-16 does
    (codecs.BOM_UTF32_BE, "utf-32", "UTF-32"),
    (codecs.BOM_UTF16_LE, "utf-16", "UTF-16"),
    (codecs.BOM_UTF16_BE, "utf-16", "UTF-16"),
)
_WESTERN = "cp1252"
_MOST_OTHER_LETTERS = 0.3
"""Of a Western text. Beyond that it is in another script, which this encoding would turn into noise."""


def decoded(content: bytes) -> tuple[str, str]:
    """A text, and the encoding that was taken.

    What is no UTF-8 is taken as cp1252 (Windows, nearly Latin-1) where it reads as a Western text
    then: few letters beyond ASCII, none of the bytes that it lacks, and no sequences of UTF-8.

    Raises:
        UnicodeDecodeError: it is none of them.
    """
    for mark, codec, name in _MARKS:
        if content.startswith(mark):
            return content.decode(codec), name
    try:
        return content.decode("utf-8"), UTF8
    except UnicodeDecodeError as error:
        if not _is_western(content):
            raise error
    return content.decode(_WESTERN), _WESTERN


def _is_western(content: bytes) -> bool:
    if b"\0" in content:
        return False
    damaged = content.decode("utf-8", "replace")
    if not damaged.replace("\ufffd", "").isascii():
        return False
    try:
        content.decode(_WESTERN)
    except UnicodeDecodeError:
        return False
    ascii_letters = len(content) - len(content.translate(None, string.ascii_letters.encode()))
    others = len(content.translate(None, bytes(range(128))))
    return others <= _MOST_OTHER_LETTERS * (ascii_letters + others)
