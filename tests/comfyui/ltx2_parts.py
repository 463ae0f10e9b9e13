"""What ComfyUI's video VAE, audio VAE and text encoder of LTX-2 give, in a process of its own.

    python ltx2_parts.py COMFYUI CHECKPOINT GEMMA INPUTS.safetensors RESULT.safetensors

Inputs: `frames` [1, 3, F, H, W] in [-1, 1], `sound` [1, 2, S] at 16 kHz, `prompts` (the bytes of a list in JSON).
Results: `video` and `audio` latents, `frames` and `sound` decoded from them, `text/0`, ... before the connectors.

ComfyUI knows Gemma by its published sizes alone: they are exchanged for those of the small one, and nothing else.
"""

import json
import sys
from typing import Any


def small_sizes(gemma: dict[str, Any]) -> None:
    """Lets ComfyUI build the Gemma of a file, and take it for the 12B."""
    import comfy.sd
    from comfy.text_encoders import gemma4, llama

    layers = len({name.split(".")[2] for name in gemma if name.startswith("model.layers.")})
    vocabulary, width = gemma["model.embed_tokens.weight"].shape
    first = "model.layers.0."
    head = gemma[f"{first}self_attn.q_norm.weight"].shape[0]
    sizes = {
        "vocab_size": vocabulary,
        "hidden_size": width,
        "intermediate_size": gemma[f"{first}mlp.gate_proj.weight"].shape[0],
        "num_hidden_layers": layers,
        "num_attention_heads": gemma[f"{first}self_attn.q_proj.weight"].shape[0] // head,
        "num_key_value_heads": gemma[f"{first}self_attn.k_proj.weight"].shape[0] // head,
    }
    is_4 = f"{first}layer_scalar" in gemma
    module, name = (gemma4, "Gemma4_12B_Config") if is_4 else (llama, "Gemma3_12B_Config")
    published = getattr(module, name)

    def small(**given: Any) -> Any:
        config = published(**{**sizes, **given})
        config.head_dim = head
        if is_4:
            wide = gemma["model.layers.5.self_attn.q_norm.weight"].shape[0]
            config.global_head_dim = wide
        else:
            config.vision_config = {
                **llama.GEMMA3_VISION_CONFIG,
                **{"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1},
                "num_attention_heads": 1,
            }
        return config

    setattr(module, name, small)
    kind = comfy.sd.TEModel.GEMMA_4_12B if is_4 else comfy.sd.TEModel.GEMMA_3_12B
    stock = comfy.sd.detect_te_model
    comfy.sd.detect_te_model = lambda sd: kind if "model.embed_tokens.weight" in sd else stock(sd)


def encoded(checkpoint: str, gemma: str, prompts: list[str]) -> dict[str, Any]:
    import comfy.sd
    import comfy.utils

    parts = [comfy.utils.load_torch_file(path, safe_load=True) for path in (gemma, checkpoint)]
    small_sizes(parts[0])
    clip = comfy.sd.load_text_encoder_state_dicts(parts, clip_type=comfy.sd.CLIPType.LTXV)
    found = {}
    for number, prompt in enumerate(prompts):
        result = clip.encode_from_tokens(clip.tokenize(prompt), return_dict=True)
        assert result["unprocessed_ltxav_embeds"]
        found[f"text/{number}"] = result["cond"][0]
    return found


def latents(checkpoint: str, given: dict[str, Any]) -> dict[str, Any]:
    import comfy.sd
    import comfy.utils
    import torch

    tensors, metadata = comfy.utils.load_torch_file(checkpoint, return_metadata=True)
    below = {n.removeprefix("vae."): t for n, t in tensors.items() if n.startswith("vae.")}
    has_decoder = "decoder.conv_in_x_t.weight" not in below
    vae = comfy.sd.VAE(sd=below, metadata=metadata)
    heard = comfy.utils.state_dict_prefix_replace(
        dict(tensors), {"audio_vae.": "autoencoder.", "vocoder.": "vocoder."}, filter_keys=True
    )
    audio_vae = comfy.sd.VAE(sd=heard, metadata=metadata)
    with torch.no_grad():
        model = vae.first_stage_model.float()
        video = model.encode(given["frames"])
        found = {"video": video}
        if has_decoder:
            found["frames"] = model.decode(video)
        sound = audio_vae.first_stage_model.float()
        found["audio"] = sound.encode(given["sound"], sample_rate=16000)
        found["sound"] = sound.decode(found["audio"])
    return found


def main() -> None:
    comfyui, checkpoint, gemma, inputs, result = sys.argv[1:]
    sys.path.insert(0, comfyui)
    sys.argv = [sys.argv[0], "--cpu", "--force-fp32", "--fp32-text-enc"]
    import comfy.options

    comfy.options.enable_args_parsing()
    from safetensors.torch import load_file, save_file

    given = load_file(inputs)
    prompts = json.loads(bytes(given["prompts"].tolist()).decode())
    found = latents(checkpoint, given) | encoded(checkpoint, gemma, prompts)
    save_file({name: each.float().contiguous() for name, each in found.items()}, result)


if __name__ == "__main__":
    main()
