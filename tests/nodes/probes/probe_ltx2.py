"""Small random parts of LTX-2, built by ComfyUI's own classes, and what its model makes of a conditioning."""

import json
from types import SimpleNamespace
from typing import Any

import torch
from comfy_api.latest import io

from .probe_forward import CATEGORY

VAE_CONFIG = {
    "_class_name": "CausalVideoAutoencoder",
    "dims": 3,
    "in_channels": 3,
    "out_channels": 3,
    "latent_channels": 128,
    "encoder_blocks": [
        ["res_x", {"num_layers": 1}],
        ["compress_space_res", {"multiplier": 2}],
        ["res_x", {"num_layers": 1}],
        ["compress_time_res", {"multiplier": 2}],
        ["compress_all_res", {"multiplier": 2}],
        ["compress_all_res", {"multiplier": 2}],
        ["res_x", {"num_layers": 1}],
    ],
    "decoder_blocks": [
        ["compress_all", {"residual": True, "multiplier": 2}],
        ["compress_all", {"residual": True, "multiplier": 2}],
        ["compress_all", {"residual": True, "multiplier": 2}],
        ["res_x", {"num_layers": 1, "inject_noise": False}],
    ],
    "encoder_base_channels": 16,
    "decoder_base_channels": 16,
    "scaling_factor": 1.0,
    "norm_layer": "pixel_norm",
    "patch_size": 4,
    "latent_log_var": "uniform",
    "use_quant_conv": False,
    "causal_decoder": False,
}


class ProbeLtx2Vae(io.ComfyNode):
    """A video VAE with published names; `timesteps` is that of LTX-Video, whose decoder takes them."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ProbeLtx2Vae",
            category=CATEGORY,
            inputs=[io.Boolean.Input("timesteps", default=False)],
            outputs=[io.Vae.Output()],
        )

    @classmethod
    def execute(cls, timesteps: bool) -> io.NodeOutput:
        import comfy.sd
        from comfy.ldm.lightricks.vae.causal_video_autoencoder import VideoVAE

        config = VAE_CONFIG | {"timestep_conditioning": timesteps}
        made = _random(VideoVAE(config=config))
        made.per_channel_statistics.get_buffer("std-of-means").fill_(1.5)
        made.per_channel_statistics.get_buffer("mean-of-means").fill_(0.25)
        metadata = {"config": json.dumps({"vae": config})}
        vae = comfy.sd.VAE(sd=made.state_dict(), metadata=metadata, dtype=torch.float32)
        vae.throw_exception_if_invalid()
        return io.NodeOutput(vae)


class ProbeLtx2Clip(io.ComfyNode):
    """A text encoder of LTX-2 around a small Gemma 3: of 2.0 with `audio_width` 0, else of 2.3, or of 2.5."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ProbeLtx2Clip",
            category=CATEGORY,
            inputs=[
                io.Int.Input("video_width"),
                io.Int.Input("audio_width"),
                io.Boolean.Input("is_gemma_4", default=False),
            ],
            outputs=[io.Clip.Output()],
        )

    @classmethod
    def execute(cls, video_width: int, audio_width: int, is_gemma_4: bool) -> io.NodeOutput:
        import comfy.sd
        from comfy.text_encoders import lt

        options: dict[str, Any] = {
            "text_projection_type": "dual_linear" if audio_width else "single_linear",
            "text_encoder_model": _small_gemma(),
            "text_encoder_key": "gemma4" if is_gemma_4 else "gemma3_12b",
            "video_projection_dim": video_width,
            "audio_projection_dim": audio_width,
        }

        class Named(lt.LTXAVGemmaTokenizer):
            """The words of a small vocabulary; all that counts is how they are named."""

            def __init__(self, embedding_directory: Any = None, tokenizer_data: Any = None):
                super().__init__(embedding_directory, _small_vocabulary())

            def tokenize_with_weights(self, *given: Any, **named: Any) -> dict[str, Any]:
                (batches,) = super().tokenize_with_weights(*given, **named).values()
                return {options["text_encoder_key"]: batches}

        target = SimpleNamespace(params={}, clip=lt.ltxav_te(**options), tokenizer=Named)
        clip = comfy.sd.CLIP(target, model_options={"dtype": torch.float32})
        _random(clip.cond_stage_model)
        return io.NodeOutput(clip)


class ProbeLtx2Text(io.ComfyNode):
    """What a MODEL of LTX-2 reads of a conditioning."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ProbeLtx2Text",
            category=CATEGORY,
            inputs=[io.Model.Input("model"), io.Conditioning.Input("conditioning")],
            outputs=[io.Latent.Output()],
        )

    @classmethod
    def execute(cls, model: Any, conditioning: Any) -> io.NodeOutput:
        (features, others), *_ = conditioning
        flag = others.get("unprocessed_ltxav_embeds", False)
        transformer = model.model.diffusion_model
        with torch.no_grad():
            text = transformer.preprocess_text_embeds(features.float(), unprocessed=flag)
        return io.NodeOutput({"samples": text})


@torch.no_grad()
def _random(module: torch.nn.Module) -> torch.nn.Module:
    """With random weights, the same at every call."""
    generator = torch.Generator().manual_seed(0)
    for parameter in module.parameters():
        scale = 1.5 / parameter[0].numel() ** 0.5 if parameter.ndim > 1 else 0.1
        drawn = torch.randn(parameter.shape, generator=generator)
        parameter.copy_(drawn * scale)
    return module


def _small_gemma() -> type:
    import comfy.text_encoders.llama as llama
    from comfy import sd1_clip

    class SmallGemma(llama.BaseLlama, llama.BaseGenerate, torch.nn.Module):
        def __init__(self, config_dict: Any, dtype: Any, device: Any, operations: Any):
            super().__init__()
            sizes = {"vocab_size": 32128, "hidden_size": 48, "intermediate_size": 96}
            heads = {"num_attention_heads": 2, "num_key_value_heads": 1, "num_hidden_layers": 2}
            config = llama.Gemma3_12B_Config(**sizes, **heads)
            self.num_layers, self.dtype = config.num_hidden_layers, dtype
            self.model = llama.Llama2_(config, device=device, dtype=dtype, ops=operations)

    class SmallGemmaModel(sd1_clip.SDClipModel):
        def __init__(
            self,
            device: Any = "cpu",
            layer: str = "all",
            layer_idx: Any = None,
            dtype: Any = None,
            model_options: Any = None,
        ):
            super().__init__(
                device=device,
                layer=layer,
                layer_idx=layer_idx,
                textmodel_json_config={},
                dtype=torch.float32,
                special_tokens={"start": 2, "pad": 0},
                layer_norm_hidden_state=False,
                model_class=SmallGemma,
                enable_attention_masks=True,
                return_attention_masks=True,
                model_options={},
            )

    return SmallGemmaModel


def _small_vocabulary() -> dict[str, torch.Tensor]:
    from pathlib import Path

    import comfy.text_encoders

    file = Path(comfy.text_encoders.__path__[0], "t5_pile_tokenizer", "tokenizer.model")
    return {"spiece_model": torch.frombuffer(bytearray(file.read_bytes()), dtype=torch.uint8)}
