import pytest
import torch

from ltxv_train_core.families.ltxv.miniature import shipped, weights
from ltxv_train_core.families.ltxv.miniature.datasets import evaluation_items


def test_the_weights_stay_below_fifteen_megabytes():
    assert sum(path.stat().st_size for path in shipped.FOLDER.iterdir()) < 15e6


def test_identity_is_short_and_stable():
    assert len(shipped.identity()) == 16
    assert shipped.identity() == shipped.identity()


@pytest.mark.parametrize(
    "load", [weights.load_transformer, weights.load_text_encoder, weights.load_vae]
)
def test_models_load_in_the_wanted_precision_and_leave_random_numbers_alone(load):
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    for dtype in (torch.float32, torch.bfloat16):
        model = load(dtype)
        assert not model.training
        assert {p.dtype for p in model.parameters()} == {dtype}
        assert all(torch.isfinite(p).all() for p in model.parameters())
    assert torch.rand(1) == expected


def test_embeddings_of_the_text_encoder_are_tied():
    encoder = weights.load_text_encoder()
    assert encoder.encoder.embed_tokens.weight is encoder.shared.weight


def test_the_tokenizer_knows_the_words_and_spells_the_others():
    tokenizer = weights.load_tokenizer()

    def pieces(text):
        return tokenizer.convert_ids_to_tokens(tokenizer(text).input_ids)

    assert pieces("A red circle") == ["▁a", "▁red", "▁circle", "</s>"]
    assert pieces("zorp ring") == ["▁z", "o", "r", "p", "▁ring", "</s>"]
    assert pieces("ü!") == ["▁", "<0xC3>", "<0xBC>", "<0x21>", "</s>"]
    assert pieces("") == ["</s>"]
    for item in evaluation_items("plain"):
        assert len(tokenizer(item.prompt).input_ids) == len(item.prompt.split()) + 1


def test_no_token_is_unknown_to_the_text_encoder():
    assert len(weights.load_tokenizer()) == weights.load_text_encoder().config.vocab_size
