"""Builds the miniatures' tokenizers: Unigram models of whole words, letters and bytes."""

import string
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from ltxv_train_core.families.ltxv.miniature import clips

# Words of no meaning to the base, which a user's captions are likely to bring along.
NEUTRAL_WORDS = (
    *("the", "an", "in", "with", "and", "of", "to", "is", "moving", "background", "shape"),
    *("slowly", "fast", "video", "clip", "style", "orange", "pink", "cyan", "gold", "striped"),
    *("stripes", "glowing", "glow", "outline", "bouncing", "diagonal", "cross", "diamond", "star"),
    *("heart", "line", "lines", "pattern", "checkered", "checker", "gradient", "rainbow", "small"),
    *("big", "large", "light", "dark", "bright", "same", "reference", "it"),
)
SOUND_WORDS = (
    *("hum", "buzz", "loud", "soft", "low", "middle", "high", "sound", "beep", "beeps", "beeping"),
    *("rising", "falling", "noise", "silence", "tremolo", "click", "clicks"),
)

_MARK = "▁"
_BYTE, _WORD, _LETTER, _FIRST_LETTER, _SPACE = -12.0, -1.0, -8.0, -9.0, -6.0


def build_tokenizer(further_words: tuple[str, ...] = ()) -> Tokenizer:
    words = ["a", "moves", "on", *clips.COLORS, *clips.BACKGROUNDS, *clips.SHAPES]
    words += [*clips.DIRECTIONS, *NEUTRAL_WORDS, *further_words]
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    pieces += [(f"<0x{byte:02X}>", _BYTE) for byte in range(256)]
    pieces += [(_MARK, _SPACE)]
    pieces += [(_MARK + word, _WORD) for word in dict.fromkeys(words)]
    pieces += [(letter, _LETTER) for letter in string.ascii_lowercase + string.digits + ",.-'"]
    pieces += [(_MARK + letter, _FIRST_LETTER) for letter in string.ascii_lowercase[1:]]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=2, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement=_MARK, prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", 1)]
    )
    return tokenizer


def write_tokenizer(path: Path, further_words: tuple[str, ...] = ()) -> None:
    build_tokenizer(further_words).save(str(path), pretty=False)
