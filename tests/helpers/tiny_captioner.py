"""A vision-language model for tests: of the real class, small and random."""

from pathlib import Path

import torch
from tokenizers import Regex, Tokenizer, models, pre_tokenizers
from transformers import (
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2VLImageProcessor,
)

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>"]
SPECIAL += ["<|image_pad|>", "<|video_pad|>"]


def tokenizer() -> PreTrainedTokenizerFast:
    """A token for each letter."""
    letters = [chr(code) for code in range(32, 127)] + ["\n"]
    vocabulary = {token: i for i, token in enumerate(SPECIAL + letters)}
    letter_by_letter = Tokenizer(models.WordLevel(vocabulary, unk_token=" "))
    letter_by_letter.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    return PreTrainedTokenizerFast(
        tokenizer_object=letter_by_letter,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=SPECIAL[1:],
    )


def write_tiny_captioner(folder: Path) -> Path:
    """A folder with a small random Qwen2.5-VL."""
    words = tokenizer()
    text = {
        "vocab_size": len(words),
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "rope_scaling": {"type": "mrope", "mrope_section": [1, 1, 2]},
        "eos_token_id": 2,
        "pad_token_id": 0,
        "bos_token_id": 0,
    }
    vision = {
        "depth": 2,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_heads": 4,
        "out_hidden_size": 32,
        "fullatt_block_indexes": [1],
        "tokens_per_second": 2,
    }
    config = Qwen2_5_VLConfig(
        text_config=text,
        vision_config=vision,
        image_token_id=5,
        video_token_id=6,
        vision_start_token_id=3,
        vision_end_token_id=4,
    )
    torch.manual_seed(5)
    network = Qwen2_5_VLForConditionalGeneration(config)
    with torch.no_grad():
        for weight in network.parameters():
            weight.mul_(4)  # as drawn, it hardly looks at what it is shown
    network.generation_config.eos_token_id = 2
    network.generation_config.pad_token_id = 0
    silent = [*range(len(SPECIAL)), *words.convert_tokens_to_ids([" ", "\n"])]
    network.generation_config.suppress_tokens = silent
    network.save_pretrained(folder)
    words.save_pretrained(folder)
    Qwen2VLImageProcessor().save_pretrained(folder)
    return folder
