"""A Whisper model for tests: of the real classes, small, converted to CTranslate2's format on the spot.

Its layers pass on what they are given, so that it says one sentence whatever it hears: the token of each place
is where the embedding of that place points.
"""

from pathlib import Path

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    PreTrainedTokenizerFast,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
)

LANGUAGES = ("en", "de")
END, START = "<|endoftext|>", "<|startoftranscript|>"
SPECIAL = [END, START, *(f"<|{name}|>" for name in LANGUAGES), "<|translate|>", "<|transcribe|>"]
SPECIAL += ["<|startoflm|>", "<|startofprev|>", "<|nospeech|>", "<|notimestamps|>"]
STAMPS = [f"<|{0.02 * number:.2f}|>" for number in range(1501)]
WIDTH = 64


def tokenizer() -> Tokenizer:
    """A token for each byte, and Whisper's own."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = Tokenizer(models.BPE({letter: i for i, letter in enumerate(letters)}, []))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens(SPECIAL)
    made.add_tokens([AddedToken(stamp, special=False) for stamp in STAMPS])
    return made


def write_tiny_whisper(folder: Path, says: str | None = None) -> Path:
    """A folder that faster-whisper reads.

    Args:
        says: what it hears in every sound, without spaces and marks (CTranslate2 leaves out what begins with them);
            None: weights are random, and so are its words.
    """
    import ctranslate2

    words = tokenizer()
    end = words.token_to_id(END)
    config = WhisperConfig(
        vocab_size=words.get_vocab_size(),
        d_model=WIDTH,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        num_mel_bins=80,
        pad_token_id=end,
        bos_token_id=end,
        eos_token_id=end,
        decoder_start_token_id=words.token_to_id(START),
        begin_suppress_tokens=None,
        suppress_tokens=None,
    )
    torch.manual_seed(0)
    model = WhisperForConditionalGeneration(config)
    if says is not None:
        _make_say(model, words, says)
    source = folder.with_name(f"{folder.name}-of-transformers")
    model.save_pretrained(source)
    of_transformers = PreTrainedTokenizerFast(
        tokenizer_object=words, bos_token=END, eos_token=END, unk_token=END, pad_token=END
    )
    of_transformers.save_pretrained(source)
    WhisperFeatureExtractor(feature_size=80).save_pretrained(source)
    files = ["tokenizer.json", "preprocessor_config.json"]
    converter = ctranslate2.converters.TransformersConverter(str(source), copy_files=files)
    converter.convert(str(folder))
    return folder


@torch.no_grad()
def _make_say(model: WhisperForConditionalGeneration, words: Tokenizer, says: str) -> None:
    decoder = model.model.decoder
    for layer in decoder.layers:
        for part in (layer.self_attn.out_proj, layer.encoder_attn.out_proj, layer.fc2):
            part.weight.zero_()
            part.bias.zero_()
    directions = torch.randn(words.get_vocab_size(), WIDTH)
    directions *= 3 / directions.norm(dim=1, keepdim=True)
    decoder.embed_tokens.weight.copy_(directions)
    # With so few tokens it counts as a model of English alone, which is given no language and no task.
    tokens = [words.token_to_id("<|0.00|>"), *words.encode(says).ids]
    tokens += [words.token_to_id(name) for name in ("<|0.60|>", END)]
    decoder.embed_positions.weight.zero_()
    decoder.embed_positions.weight[: len(tokens)] = 50 * directions[tokens]
