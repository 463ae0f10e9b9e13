"""The miniature that hears, sampled by ComfyUI's stock nodes: its score, and guidance of each modality."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from ltxv_train_core.config import SECTIONS, LoRAConfig, to_widgets
from ltxv_train_core.demo import recipe
from ltxv_train_core.demo.with_sound import TASK, run_demo_with_sound
from ltxv_train_core.diffusion.sampler import (
    ConditioningLatents,
    SampleRequest,
    SamplerSettings,
    SpatioTemporalGuidance,
)
from ltxv_train_core.diffusion.sampler import sample as sample_here
from ltxv_train_core.families.ltx2.mel import log_mel
from ltxv_train_core.families.ltx2.miniature.datasets import evaluation_items
from ltxv_train_core.families.ltx2.miniature.scenes import FPS
from ltxv_train_core.families.ltx2.miniature.scores import SoundScore, score
from ltxv_train_core.families.ltx2.miniature.shipped import MINIATURE
from ltxv_train_core.families.names import AUDIO, VIDEO
from ltxv_train_core.families.open import open_model
from ltxv_train_core.geometry import VideoSize
from ltxv_train_core.lora.file import add_trained_lora, lora_tensors, write_lora_file
from ltxv_train_core.lora.inject import add_lora
from ltxv_train_core.media.sound import read_sound
from ltxv_train_core.media.video import read_frames
from tests.graph import Graph, Node
from tests.host import Host, models_folder, run
from tests.nodes.test_ltx2_parity import needs_ltx2
from tests.nodes.workflows import SIZE, add

pytestmark = [
    pytest.mark.comfyui,
    pytest.mark.parametrize("host", ["comfyui"], indirect=True),
    needs_ltx2,
]
NODE_NAMES = {"lora": "LoRA", "flow_matching": "FlowMatching"}
PROMPT = "a red circle moves up on a blue background, a loud low hum"
STEPS, SEED = 6, 5
VIDEO_SCALE, AUDIO_SCALE = 3.0, 7.0
STG_SCALE, STG_BLOCKS = 1.5, (1, 2)


class Stock:
    """What all samples of a graph share: the empty latent, the base model, ComfyUI's audio VAE."""

    def __init__(self, graph: Graph, host: Host):
        self.graph, self.host = graph, host
        section = add(graph, host, "LTXVTrainModelConfig", model_source=MINIATURE)
        self.section = section
        self.base = graph.add("LTXVTrainLoadModel", model=section)
        written = graph.add("LTXVTrainMiniatureCheckpoint", model="LTX-2")
        self.audio_vae = graph.add("LTXVAudioVAELoader", ckpt_name=written)
        video = graph.add("EmptyLTXVLatentVideo", width=96, height=96, length=17, batch_size=1)
        audio = graph.add(
            "LTXVEmptyLatentAudio",
            frames_number=17,
            frame_rate=FPS,
            batch_size=1,
            audio_vae=self.audio_vae,
        )
        self.video, self.audio = video, audio
        self.empty = graph.add("LTXVConcatAVLatent", video_latent=video, audio_latent=audio)

    def prompts(self, text: str) -> Node:
        both = [
            self.graph.add("CLIPTextEncode", clip=self.base[1], text=each) for each in (text, "")
        ]
        return self.graph.add(
            "LTXVConditioning", positive=both[0], negative=both[1], frame_rate=float(FPS)
        )

    def keeping(self, name: str) -> Node:
        """The empty latents with a given one in the place of its stream's: a file of ComfyUI's input folder."""
        graph = self.graph
        kept = graph.add(
            "SetLatentNoiseMask",
            samples=graph.add("LoadLatent", latent=f"{name}.latent"),
            mask=graph.add("SolidMask", value=0.0, width=16, height=16),
        )
        streams = {"video": self.video, "audio": self.audio} | {name: kept}
        return graph.add(
            "LTXVConcatAVLatent", **{f"{each}_latent": latent for each, latent in streams.items()}
        )

    def sampled(
        self,
        model: Node,
        text: str,
        seed: int,
        sigmas: Node,
        latent: Node | None = None,
        **scales: float,
    ) -> Node:
        """Video and audio latents."""
        graph, prompts = self.graph, self.prompts(text)
        guider = graph.add(
            "LTXVDualCFGGuider", model=model, positive=prompts[0], negative=prompts[1], **scales
        )
        sampled = graph.add(
            "SamplerCustomAdvanced",
            noise=graph.add("RandomNoise", noise_seed=seed),
            guider=guider,
            sampler=graph.add("KSamplerSelect", sampler_name="euler"),
            sigmas=sigmas,
            latent_image=self.empty if latent is None else latent,
        )
        return graph.add("LTXVSeparateAVLatent", av_latent=sampled)

    def save(self, latents: Node, name: str) -> None:
        """As an mp4 with sound, by the stock VAE and audio VAE."""
        graph = self.graph
        frames = graph.add("VAEDecode", samples=latents[0], vae=self.base[2])
        sound = graph.add("LTXVAudioVAEDecode", samples=latents[1], audio_vae=self.audio_vae)
        made = graph.add("CreateVideo", images=frames, fps=float(FPS), audio=sound)
        graph.add("SaveVideo", video=made, filename_prefix=name, format="mp4", codec="h264")

    def trained(self) -> Node:
        """The base with the LoRA of the demo's recipe, every section through its node."""
        graph, host = self.graph, self.host
        dataset = add(graph, host, "LTXVTrainDemoDataset", task=TASK)
        data = add(
            graph,
            host,
            "LTXVTrainDatasetPreprocess",
            dataset_path=dataset,
            model=self.section,
            resolution_buckets=SIZE,
            id_token=recipe.TRIGGER,
        )
        wanted = recipe.training_config(TASK, Path("data"), Path("runs"), 0, MINIATURE)
        sections = {}
        for name in SECTIONS:
            values = to_widgets(getattr(wanted, name))
            if name == "data":
                values["preprocessed_data_root"] = data
            node = f"LTXVTrain{NODE_NAMES.get(name, name.capitalize())}Config"
            sections[name] = add(graph, host, node, **values)
        config = graph.add("LTXVTrainConfig", **sections, seed=0, name=wanted.name)
        lora = graph.add("LTXVTrainLoRA", config=config)
        return graph.add("LTXVTrainLoadLoRA", model=self.base, lora_name=lora, strength=1.0)


def heard_and_seen(host: Host, when: str) -> SoundScore:
    """The score of what ComfyUI has saved."""
    items = evaluation_items(TASK)
    videos, spectrograms = [], []
    for number in range(len(items)):
        (file,) = (host.base / "output").glob(f"sound-{when}-{number:02d}_*.mp4")
        videos.append(read_frames(file, VideoSize.parse(SIZE)))
        sound = read_sound(file, 16000, 17 / FPS)
        assert sound is not None
        spectrograms.append(log_mel(torch.from_numpy(sound.samples)[None])[0].numpy())
    return score(TASK, videos, spectrograms, items)


@pytest.mark.long
def test_stripes_are_seen_and_a_beep_is_heard(host: Host, tmp_path: Path) -> None:
    """Trained, sampled and decoded by ComfyUI, 16 prompts; beside the demo, which needs none."""
    graph = Graph()
    stock = Stock(graph, host)
    sigmas = add(graph, host, "LTXVScheduler", steps=recipe.SAMPLING_STEPS, latent=stock.video)
    scales = {"video_cfg": recipe.GUIDANCE_SCALE, "audio_cfg": recipe.GUIDANCE_SCALE}
    trained = stock.trained()
    for number, item in enumerate(evaluation_items(TASK)):
        text = f"{recipe.TRIGGER} {item.prompt}"
        for when, model in (("before", stock.base), ("after", trained)):
            latents = stock.sampled(model, text, number, sigmas, **scales)
            stock.save(latents, f"sound-{when}-{number:02d}")
    run(host, graph.prompt, seconds=1800).succeeded()
    before, after = heard_and_seen(host, "before"), heard_and_seen(host, "after")
    demo = run_demo_with_sound(tmp_path)
    print(f"before {before}\nafter {after}\ndemo {demo.score_after}")
    assert abs(before.stripes) < 0.06
    assert abs(before.beep_db) < 3
    assert after.stripes >= 0.30
    assert after.stripes == pytest.approx(demo.score_after["stripes"], abs=0.08)
    assert after.beep_db >= 20
    assert min(after.seen["background"], after.seen["colour"], after.seen["motion"]) >= 0.6


@torch.no_grad()
def test_guidance_of_each_modality_is_comfyuis(host: Host) -> None:
    """Its dual CFG guider and STG, and this program's sampler: the same noise, levels and prompt."""
    model = open_model(MINIATURE)
    denoiser = model.transformer.denoiser(model.load_transformer(torch.float32))
    shapes = model.family.latent_shapes(VideoSize.parse(SIZE), FPS)
    tokens = {name: int(np.prod(shape)) for name, shape in shapes.items()}
    levels = denoiser.sampling_levels(STEPS, tokens)
    prompt, negative = model.load_text_encoder().encode([PROMPT, ""])

    graph = Graph()
    stock = Stock(graph, host)
    written = ", ".join(f"{level:.9f}" for level in levels.tolist())
    sigmas = graph.add("ManualSigmas", sigmas=written)
    scales = {"video_cfg": VIDEO_SCALE, "audio_cfg": AUDIO_SCALE}
    stg = graph.add(
        "LTXVSpatioTemporalGuidance",
        model=stock.base,
        scale=STG_SCALE,
        blocks=", ".join(map(str, STG_BLOCKS)),
        start_percent=0.0,
        end_percent=1.0,
    )
    for kind, sampled in (("dual", stock.base), ("stg", stg)):
        latents = stock.sampled(sampled, PROMPT, SEED, sigmas, **scales)
        for number, name in enumerate((VIDEO, AUDIO)):
            graph.add("SaveLatent", samples=latents[number], filename_prefix=f"{kind}-{name}")
    run(host, graph.prompt, seconds=300).succeeded()

    def ours(
        audio_scale: float, guidance: SpatioTemporalGuidance | None = None
    ) -> dict[str, torch.Tensor]:
        settings = SamplerSettings(
            shapes,
            STEPS,
            VIDEO_SCALE,
            fps=FPS,
            levels=tuple(levels[:-1].tolist()),
            guidance_scales={AUDIO: audio_scale},
            stg=guidance,
        )
        return sample_here(denoiser, [SampleRequest(prompt, negative, SEED)], settings)

    both = SpatioTemporalGuidance(STG_SCALE, STG_BLOCKS, frozenset({VIDEO, AUDIO}))
    found, other, led = ours(AUDIO_SCALE), ours(VIDEO_SCALE), ours(AUDIO_SCALE, both)
    for kind, latents in (("dual", found), ("stg", led)):
        for name in (VIDEO, AUDIO):
            (file,) = (host.base / "output").glob(f"{kind}-{name}_*.latent")
            theirs = load_file(file)["latent_tensor"]
            error = (latents[name] - theirs).abs().max() / theirs.abs().max()
            print(kind, name, f"{error:.1e}")
            assert error < 1e-3
    assert all((led[name] - found[name]).abs().max() > 0.1 for name in (VIDEO, AUDIO))
    assert (other[AUDIO] - found[AUDIO]).abs().max() > 0.1


@torch.no_grad()
def test_what_is_given_of_one_modality_is_kept_as_by_comfyui(host: Host) -> None:
    """A sound or a video that ComfyUI masks as a whole: the other one is sampled for it, as here."""
    model = open_model(MINIATURE)
    denoiser = model.transformer.denoiser(model.load_transformer(torch.float32))
    shapes = model.family.latent_shapes(VideoSize.parse(SIZE), FPS)
    tokens = {name: int(np.prod(shape)) for name, shape in shapes.items()}
    levels = denoiser.sampling_levels(STEPS, tokens)
    prompt, negative = model.load_text_encoder().encode([PROMPT, ""])
    generator = torch.Generator().manual_seed(1)
    given = {
        name: torch.randn(denoiser.streams[name].channels, *shape, generator=generator)
        for name, shape in shapes.items()
    }
    for name, latents in given.items():
        tensors = {"latent_tensor": latents[None], "latent_format_version_0": torch.tensor([])}
        save_file(tensors, host.base / "input" / f"{name}.latent")

    graph = Graph()
    stock = Stock(graph, host)
    sigmas = graph.add("ManualSigmas", sigmas=", ".join(f"{each:.9f}" for each in levels.tolist()))
    scales = {"video_cfg": VIDEO_SCALE, "audio_cfg": VIDEO_SCALE}
    for name in given:
        latents = stock.sampled(stock.base, PROMPT, SEED, sigmas, stock.keeping(name), **scales)
        for number, stream in enumerate((VIDEO, AUDIO)):
            graph.add("SaveLatent", samples=latents[number], filename_prefix=f"{name}-{stream}")
    run(host, graph.prompt, seconds=300).succeeded()
    settings = SamplerSettings(
        shapes, STEPS, VIDEO_SCALE, fps=FPS, levels=tuple(levels[:-1].tolist())
    )
    for name, latents in given.items():
        whole = ConditioningLatents.beginning(latents, shapes[name])
        request = SampleRequest(prompt, negative, SEED, given={name: whole})
        found = sample_here(denoiser, [request], settings)
        assert torch.equal(found[name][0], latents)
        for stream in (VIDEO, AUDIO):
            (file,) = (host.base / "output").glob(f"{name}-{stream}_*.latent")
            theirs = load_file(file)["latent_tensor"]
            error = (found[stream] - theirs).abs().max() / theirs.abs().max()
            print(name, stream, f"{error:.1e}")
            assert error < 1e-3


def reference_lora(host: Host) -> str:
    """An IC-LoRA with an effect that shows, as training writes one on references three times smaller."""
    model = open_model(MINIATURE)
    transformer = model.load_transformer(torch.float32)
    add_lora(transformer, LoRAConfig(rank=4, alpha=4), 0)
    torch.manual_seed(4)
    for name, parameter in transformer.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.02)
    file = models_folder(host, "loras") / "references.safetensors"
    file.parent.mkdir(parents=True, exist_ok=True)
    facts = {"reference_downscale_factor": "3"}
    write_lora_file(file, lora_tensors(transformer), 4, 4, facts, torch.float32)
    return file.name


@torch.no_grad()
def test_references_of_both_modalities_are_followed_as_by_comfyui(host: Host) -> None:
    """An IC-LoRA with a smaller reference video and a reference sound, by ComfyUI's guide and reference nodes:
    the factor comes from the LoRA's metadata."""
    lora = reference_lora(host)
    model = open_model(MINIATURE)
    transformer = model.load_transformer(torch.float32)
    denoiser = model.transformer.denoiser(transformer)
    shapes = model.family.latent_shapes(VideoSize.parse(SIZE), FPS)
    levels = denoiser.sampling_levels(STEPS, {VIDEO: int(np.prod(shapes[VIDEO]))})
    prompt, negative = model.load_text_encoder().encode([PROMPT, ""])

    graph = Graph()
    stock = Stock(graph, host)
    sigmas = graph.add("ManualSigmas", sigmas=", ".join(f"{each:.9f}" for each in levels.tolist()))
    patched = graph.add("LoraLoaderModelOnly", model=stock.base, lora_name=lora, strength_model=1.0)
    prompts = stock.prompts(PROMPT)
    guided = graph.add(
        "LTXVAddGuide",
        positive=prompts[0],
        negative=prompts[1],
        vae=stock.base[2],
        latent=stock.video,
        image=graph.add("EmptyImage", width=32, height=32, batch_size=17, color=0x3070B0),
        frame_idx=0,
        strength=1.0,
        iclora_parameters=graph.add("GetICLoRAParameters", iclora_model=patched),
    )
    heard = graph.add(
        "LTXVReferenceAudio",
        model=patched,
        positive=guided[0],
        negative=guided[1],
        reference_audio=graph.add("EmptyAudio", duration=1.4, sample_rate=16000, channels=2),
        audio_vae=stock.audio_vae,
        identity_guidance_scale=0.0,
        start_percent=0.0,
        end_percent=1.0,
    )
    both = graph.add("LTXVConcatAVLatent", video_latent=guided[2], audio_latent=stock.audio)
    guider = graph.add(
        "LTXVDualCFGGuider",
        model=heard[0],
        positive=heard[1],
        negative=heard[2],
        video_cfg=VIDEO_SCALE,
        audio_cfg=VIDEO_SCALE,
    )
    latent = graph.add(
        "SamplerCustomAdvanced",
        noise=graph.add("RandomNoise", noise_seed=SEED),
        guider=guider,
        sampler=graph.add("KSamplerSelect", sampler_name="euler"),
        sigmas=sigmas,
        latent_image=both,
    )
    split = graph.add("LTXVSeparateAVLatent", av_latent=latent)
    cropped = graph.add("LTXVCropGuides", positive=heard[1], negative=heard[2], latent=split[0])
    graph.add("SaveLatent", samples=cropped[2], filename_prefix="references-video")
    graph.add("SaveLatent", samples=split[1], filename_prefix="references-audio")
    run(host, graph.prompt, seconds=300).succeeded()

    frames = torch.tensor([0x30, 0x70, 0xB0]).div(255).view(1, 3, 1, 1, 1).expand(1, 3, 17, 32, 32)
    references = {
        VIDEO: model.load_vae().encode(frames * 2 - 1)[0],
        AUDIO: model.load_audio_vae().encode(torch.zeros(1, 2, round(1.4 * 16000)))[0],
    }
    settings = SamplerSettings(
        shapes, STEPS, VIDEO_SCALE, fps=FPS, levels=tuple(levels[:-1].tolist())
    )
    add_trained_lora(transformer, models_folder(host, "loras") / lora)
    request = SampleRequest(prompt, negative, SEED, references=references)
    found = sample_here(denoiser, [request], settings)
    alone = sample_here(denoiser, [SampleRequest(prompt, negative, SEED)], settings)
    for name in (VIDEO, AUDIO):
        (file,) = (host.base / "output").glob(f"references-{name}_*.latent")
        theirs = load_file(file)["latent_tensor"]
        error = (found[name] - theirs).abs().max() / theirs.abs().max()
        print("references", name, f"{error:.1e}")
        assert error < 1e-3
        assert (alone[name] - theirs).abs().max() > 0.1
