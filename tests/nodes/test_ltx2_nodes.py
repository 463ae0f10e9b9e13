"""The miniature that hears on the canvas: trained here, loaded and sampled with stock nodes."""

from pathlib import Path

import av
import numpy as np
import pytest

from ltxv_train_core.families.ltx2.miniature.scenes import FPS
from ltxv_train_core.families.ltx2.miniature.shipped import MINIATURE
from ltxv_train_core.media.sound import read_sound
from tests.graph import Graph, Node, seen
from tests.host import Host, PromptRefused, run
from tests.nodes.workflows import SIZE, add, configure

pytestmark = [
    pytest.mark.comfyui,
    pytest.mark.parametrize("host", ["comfyui"], indirect=True),
]
PROMPT = "a red circle moves up on a blue background, a loud low hum"


def trained(graph: Graph, host: Host, model: Node, steps: int) -> Node:
    dataset = add(graph, host, "LTXVTrainDemoDataset", task="stripes_and_beep", clips=4, seed=1)
    data = add(
        graph,
        host,
        "LTXVTrainDatasetPreprocess",
        dataset_path=dataset,
        model=model,
        resolution_buckets=SIZE,
    )
    config = configure(
        graph, host, data, steps, model={"model_source": MINIATURE}, name="with-sound"
    )
    return add(graph, host, "LTXVTrainLoRA", config=config)


def sampled(graph: Graph, model: Node, parts: Node, audio_vae: Node, name: str) -> None:
    """A video with sound, by ComfyUI's own nodes."""
    texts = [graph.add("CLIPTextEncode", clip=parts[1], text=text) for text in (PROMPT, "")]
    prompts = graph.add(
        "LTXVConditioning", positive=texts[0], negative=texts[1], frame_rate=float(FPS)
    )
    video = graph.add("EmptyLTXVLatentVideo", width=96, height=96, length=17, batch_size=1)
    audio = graph.add(
        "LTXVEmptyLatentAudio", frames_number=17, frame_rate=FPS, batch_size=1, audio_vae=audio_vae
    )
    latent = graph.add("LTXVConcatAVLatent", video_latent=video, audio_latent=audio)
    result = graph.add(
        "KSampler",
        model=model,
        seed=4,
        steps=10,
        cfg=3.0,
        sampler_name="euler",
        scheduler="simple",
        positive=prompts[0],
        negative=prompts[1],
        latent_image=latent,
        denoise=1.0,
    )
    separate = graph.add("LTXVSeparateAVLatent", av_latent=result)
    frames = graph.add("VAEDecode", samples=separate[0], vae=parts[2])
    sound = graph.add("LTXVAudioVAEDecode", samples=separate[1], audio_vae=audio_vae)
    made = graph.add("CreateVideo", images=frames, fps=float(FPS), audio=sound)
    graph.add("SaveVideo", video=made, filename_prefix=name, format="mp4", codec="h264")


def test_it_is_trained_loaded_and_sampled_with_sound(host: Host) -> None:
    if "LTXVConcatAVLatent" not in host.object_info():
        pytest.skip("this ComfyUI has no LTX-2")
    graph = Graph()
    model = add(graph, host, "LTXVTrainModelConfig", model_source=MINIATURE)
    parts = graph.add("LTXVTrainLoadModel", model=model)
    written = graph.add("LTXVTrainMiniatureCheckpoint", model="LTX-2")
    audio_vae = graph.add("LTXVAudioVAELoader", ckpt_name=written)
    result = trained(graph, host, model, steps=2)
    patched = graph.add("LTXVTrainLoadLoRA", model=parts, lora_name=result, strength=1.0)
    sampled(graph, parts, parts, audio_vae, "before")
    sampled(graph, patched, parts, audio_vae, "after")
    run(host, graph.prompt, seconds=600).succeeded()
    assert "lora key not loaded" not in host.log()
    sounds = {}
    for name in ("before", "after"):
        (file,) = (host.base / "output").glob(f"{name}_*.mp4")
        with av.open(str(file)) as container:
            assert container.streams.video[0].frames == 17
        sound = read_sound(Path(file), 16000, 17 / FPS)
        assert sound is not None
        sounds[name] = sound.samples
        assert np.abs(sound.samples).mean() > 1e-3
    assert np.abs(sounds["before"] - sounds["after"]).max() > 1e-3, "the LoRA changes what is heard"


def test_an_older_comfyui_says_before_it_runs_that_it_must_be_updated(host: Host) -> None:
    if "LTXVConcatAVLatent" in host.object_info():
        pytest.skip("this ComfyUI knows LTX-2")
    graph = Graph()
    written = graph.add("LTXVTrainMiniatureCheckpoint", model="LTX-2")
    graph.add("LTXVAudioVAELoader", ckpt_name=written)  # which there is none of
    with pytest.raises(PromptRefused, match="doesn't know LTX-2: update ComfyUI") as caught:
        host.start(graph.prompt)
    assert list(caught.value.node_errors) == [written.id]


def test_its_checkpoint_is_named_after_the_family(host: Host) -> None:
    if "LTXVConcatAVLatent" not in host.object_info():
        pytest.skip("this ComfyUI has no LTX-2")
    graph = Graph()
    written = graph.probe(graph.add("LTXVTrainMiniatureCheckpoint", model="LTX-2"))
    assert "ltx2_miniature-" in seen(run(host, graph.prompt), written)
