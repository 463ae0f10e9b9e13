"""What ComfyUI's LTX-2 transformer answers, in a process of its own.

    python ltx2_forward.py COMFYUI CHECKPOINT INPUTS.safetensors RESULT.safetensors [LORA]

Tensors are named `case/what`. Inputs of a case: `features` [1, L, W] before the connectors, `video`
[1, 128, f, h, w], `video_levels` [1, N], and where it has them `audio` [1, 8, T, 16], `audio_levels` [1, T];
for guides, which lie behind the target's frames, `mask` [1, 1, f, h, w] (below 0: no token) and `keyframes`
[1, 3, tokens, 2]; `apart`: no attention between the streams;
`sound_reference` [1, T', 128]. Results: `text`, `video`, `audio`; `unused`: how many of the LoRA's keys patch nothing.
"""

import sys
from typing import Any

FPS = 24.0
APART = {"a2v_cross_attn": False, "v2a_cross_attn": False}


def answers(model: Any, given: dict[str, Any]) -> dict[str, Any]:
    import torch

    cases: dict[str, dict[str, Any]] = {name.split("/")[0]: {} for name in given}
    for name, tensor in given.items():
        case, what = name.split("/")
        cases[case][what] = tensor
    transformer = model.model.diffusion_model
    found = {}
    for name, one in cases.items():
        with torch.no_grad():
            text = transformer.preprocess_text_embeds(one["features"].clone(), unprocessed=True)
            found[f"{name}/text"] = text.clone()
            levels = one["video_levels"].clone()
            output = transformer(
                [one[stream].clone() for stream in ("video", "audio") if stream in one],
                (levels, one.get("audio_levels", levels[:, -1]).clone()),
                text,
                None,
                frame_rate=FPS,
                transformer_options=APART if "apart" in one else {},
                keyframe_idxs=one.get("keyframes"),
                denoise_mask=one.get("mask"),
                ref_audio={"tokens": one["sound_reference"]} if "sound_reference" in one else None,
            )
        if isinstance(output, list):
            found[f"{name}/audio"] = output[1]
            output = output[0]
        found[f"{name}/video"] = output
    return {name: tensor.float().contiguous() for name, tensor in found.items()}


def main() -> None:
    comfyui, checkpoint, inputs, result, *lora = sys.argv[1:]
    sys.path.insert(0, comfyui)
    sys.argv = [sys.argv[0], "--cpu", "--force-fp32"]
    import comfy.options

    comfy.options.enable_args_parsing()
    import comfy.sd
    import comfy.utils
    import torch
    from safetensors.torch import load_file, save_file

    model = comfy.sd.load_diffusion_model(checkpoint)
    found = {}
    if lora:
        tensors = comfy.utils.load_torch_file(lora[0], safe_load=True)
        names = comfy.lora.model_lora_keys_unet(model.model, {})
        loaded = comfy.lora.load_lora(tensors, names)
        patched = model.add_patches(loaded, 1.0)
        found["unused"] = torch.tensor(len(loaded) - len(set(patched)))
        found["patched"] = torch.tensor(len(patched))
        model.patch_model()
    else:
        model.model.diffusion_model.to(torch.float32)
    save_file(found | answers(model, load_file(inputs)), result)


if __name__ == "__main__":
    main()
