"""What ComfyUI makes of model files, in a process of its own.

    python load_files.py COMFYUI names RESULT.json
    python load_files.py COMFYUI encode T5 INPUTS.safetensors RESULT.safetensors
    python load_files.py COMFYUI compute CHECKPOINT INPUTS.safetensors RESULT.safetensors

`names`: names and shapes of every tensor of its LTX-Video models, and how it describes the VAEs. `compute`: its transformer's
output, its VAE's latents and frames for the given inputs; where its loader for diffusion models
reads a file's metadata, that one's output too. `encode`: its T5's embeddings of given tokens.
"""

import inspect
import json
import sys
from pathlib import Path
from typing import Any

SIZES = {
    "2B": {"num_layers": 28, "attention_head_dim": 64, "cross_attention_dim": 2048},
    "13B": {"num_layers": 48, "attention_head_dim": 128, "cross_attention_dim": 4096},
}


def names() -> dict[str, Any]:
    import comfy.ops
    import comfy.text_encoders.t5
    import torch
    from comfy.ldm.lightricks.model import LTXVModel
    from comfy.ldm.lightricks.vae.causal_video_autoencoder import VideoVAE

    operations = comfy.ops.disable_weight_init
    found: dict[str, Any] = {}
    meta: dict[str, Any] = {"dtype": torch.float32, "device": torch.device("meta")}
    for size, config in SIZES.items():
        found[size] = _shapes(LTXVModel(**config, **meta, operations=operations))
    with torch.device("meta"):
        for number, version in enumerate(("0.9.0", "0.9.1", "0.9.5")):
            vae = VideoVAE(version=number)
            describe = getattr(vae, "get_default_config", None) or vae.guess_config
            found[version] = _shapes(vae)
            found[f"config {version}"] = describe(number)
    folder = Path(comfy.text_encoders.t5.__file__).parent
    config = json.loads((folder / "t5_config_xxl.json").read_text(encoding="utf-8"))
    found["T5"] = _shapes(comfy.text_encoders.t5.T5(config, **meta, operations=operations))
    return found


def compute(checkpoint: Path, inputs: dict[str, Any]) -> dict[str, Any]:
    import comfy.sd
    import torch

    model, _, vae, _ = comfy.sd.load_checkpoint_guess_config(
        str(checkpoint), output_vae=True, output_clip=False
    )
    loaded = {"checkpoint": model}
    if "metadata" in inspect.signature(comfy.sd.load_diffusion_model_state_dict).parameters:
        loaded["diffusion model"] = comfy.sd.load_diffusion_model(str(checkpoint))
    computed = {}
    for name, patcher in loaded.items():
        transformer = patcher.model.diffusion_model
        with torch.no_grad():
            computed[name] = transformer(
                inputs["latents"].to(patcher.model.get_dtype()),
                inputs["sigma"],
                context=inputs["context"],
                attention_mask=inputs["mask"].long(),
                frame_rate=25,
                transformer_options={},
            ).float()
    with torch.no_grad():
        computed["encoded"] = vae.encode(inputs["frames"]).float()
        computed["decoded"] = vae.decode(inputs["latents"][:1]).float()
    return {name: tensor.contiguous() for name, tensor in computed.items()}


def encode(file: Path, inputs: dict[str, Any]) -> dict[str, Any]:
    import comfy.ops
    import comfy.text_encoders.t5
    import torch
    from safetensors.torch import load_file

    state = load_file(file)
    vocabulary, width = state["shared.weight"].shape
    attention, first = "SelfAttention", "encoder.block.0.layer."
    heads = state[f"{first}0.{attention}.relative_attention_bias.weight"].shape[1]
    folder = Path(comfy.text_encoders.t5.__file__).parent
    config = json.loads((folder / "t5_config_xxl.json").read_text(encoding="utf-8")) | {
        "vocab_size": vocabulary,
        "d_model": width,
        "num_heads": heads,
        "d_kv": state[f"{first}0.{attention}.q.weight"].shape[0] // heads,
        "d_ff": state[f"{first}1.DenseReluDense.wi_0.weight"].shape[0],
        "num_layers": len({name.split(".")[2] for name in state if ".block." in name}),
    }
    t5 = comfy.text_encoders.t5.T5(
        config, torch.float32, torch.device("cpu"), comfy.ops.disable_weight_init
    )
    t5.load_state_dict(state)
    with torch.no_grad():
        embeddings = t5(inputs["tokens"], attention_mask=inputs["mask"], dtype=torch.float32)[0]
    return {"embeddings": embeddings.contiguous()}


def _shapes(module: Any) -> dict[str, list[int]]:
    return {name: list(tensor.shape) for name, tensor in module.state_dict().items()}


def main() -> None:
    comfyui, task, *files = sys.argv[1:]
    sys.path.insert(0, comfyui)
    sys.argv = [sys.argv[0], "--cpu", "--force-fp32", "--fp32-vae"]
    import comfy.options

    comfy.options.enable_args_parsing()
    if task == "names":
        Path(files[0]).write_text(json.dumps(names()), encoding="utf-8")
        return
    from safetensors.torch import load_file, save_file

    work = {"compute": compute, "encode": encode}[task]
    save_file(work(Path(files[0]), load_file(files[1])), files[2])


if __name__ == "__main__":
    main()
