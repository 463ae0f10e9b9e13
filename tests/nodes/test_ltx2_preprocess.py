"""An LTX-2 file with ComfyUI's encoders: what is written is what ComfyUI's own nodes give."""

from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from ltxv_train_core.datasets.index import read_index
from ltxv_train_core.families.ltx2.miniature.shipped import MINIATURE
from ltxv_train_core.families.open import open_model
from ltxv_train_core.media.sound import Sound, as_frame
from tests.graph import Graph, Node
from tests.helpers.ltx2 import AUDIO_WIDTH, CAPTION, WIDTH, write_checkpoint
from tests.helpers.ltx2_parts import write_gemma_file, write_whole
from tests.host import Host, failure, run
from tests.nodes.test_ltx2_parity import needs_ltx2
from tests.nodes.workflows import SIZE, add

pytestmark = [
    pytest.mark.comfyui,
    pytest.mark.parametrize("host", ["comfyui"], indirect=True),
    needs_ltx2,
]
FPS, FRAMES, RATE = 12, 17, 16000
UNCUT_SAMPLES = 22291
"""At 44.1 kHz they are 15 blocks of 4,096, of which ComfyUI's audio VAE cuts nothing off."""
TONE_HZ, TONE_SECONDS = 1000, (0.6, 1.0)
LATENT_SECONDS, MEL_SECONDS = 1 / 25, 1 / 100
CAPTION_TEXT = "a circle (red) hums"
WIDTHS = {"2.0": (CAPTION, 0), "2.3": (WIDTH, AUDIO_WIDTH), "2.5": (WIDTH, AUDIO_WIDTH)}


@pytest.fixture
def clips(host: Host, tmp_path: Path) -> Path:
    """A clip with a tone in the middle of it, and its frames as pictures, in ComfyUI's input folder.

    ComfyUI decodes videos to within a step of 255, pictures exactly.
    """
    folder = host.base / "input" / tmp_path.name
    folder.mkdir(parents=True)
    grid = np.add.outer(np.arange(96), np.arange(96))
    frames = [np.repeat(((grid + 6 * f) % 200)[..., None], 3, 2) for f in range(FRAMES)]
    seconds = np.arange(round(FRAMES / FPS * RATE)) / RATE
    start, end = TONE_SECONDS
    tone = 0.3 * np.sin(2 * np.pi * TONE_HZ * seconds) * ((seconds >= start) & (seconds < end))
    sound = Sound(np.stack([tone, tone]).astype(np.float32), RATE)
    exact = np.stack(frames).astype(np.uint8)
    write_exactly(folder / "0.mp4", exact, sound)
    pictures = [Image.fromarray(pixels) for pixels in exact]
    pictures[0].save(folder / "frames.png", save_all=True, append_images=pictures[1:])
    (folder / "0.txt").write_text(CAPTION_TEXT, encoding="utf-8")
    return folder


def write_exactly(path: Path, frames: np.ndarray, sound: Sound) -> None:
    """In RGB without loss: two decoders give the same frames."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264rgb", rate=FPS, options={"crf": "0"})
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "rgb24"
        heard = container.add_stream("aac", rate=sound.rate)
        for pixels in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
        container.mux(heard.encode(as_frame(sound)))
        container.mux(heard.encode())


def checkpoint(host: Host, generation: str) -> Path:
    folder = host.base / "models" / "checkpoints"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"small-{generation}.safetensors"
    return path if path.exists() else write_checkpoint(path, generation)


def clip_of(graph: Graph, generation: str) -> Node:
    video, audio = WIDTHS[generation]
    return graph.add(
        "ProbeLtx2Clip",
        video_width=video,
        audio_width=audio,
        is_gemma_4=generation == "2.5",
    )


def preprocess(graph: Graph, host: Host, clips: Path, model: object, **options: Any) -> Node:
    return add(
        graph,
        host,
        "LTXVTrainDatasetPreprocess",
        dataset_path=clips.name,
        model_source=str(model),
        resolution_buckets=SIZE,
        **options,
    )


def audio_vae_of(graph: Graph) -> Node:
    written = graph.add("LTXVTrainMiniatureCheckpoint", model="LTX-2")
    return graph.add("LTXVAudioVAELoader", ckpt_name=written)


def saved(host: Host, name: str) -> torch.Tensor:
    (file,) = (host.base / "output").glob(f"{name}_*.latent")
    return load_file(file)["latent_tensor"]


@pytest.mark.parametrize("generation", WIDTHS)
def test_what_is_written_is_what_comfyuis_nodes_give(
    host: Host, clips: Path, generation: str, tmp_path: Path
) -> None:
    path, graph, name = checkpoint(host, generation), Graph(), f"{tmp_path.name}{generation}"
    vae, audio_vae = graph.add("ProbeLtx2Vae", timesteps=False), audio_vae_of(graph)
    clip = clip_of(graph, generation)
    preprocess(graph, host, clips, path, vae=vae, clip=clip, audio_vae=audio_vae)
    video = graph.add("LoadVideo", file=f"{clips.name}/0.mp4")
    parts = graph.add("GetVideoComponents", video=video)
    sound = graph.add(
        "TrimAudioDuration", audio=parts[1], start_index=0.0, duration=UNCUT_SAMPLES / RATE
    )
    frames = graph.add("LoadImage", image=f"{clips.name}/frames.png")
    model = graph.add("CheckpointLoaderSimple", ckpt_name=path.name)
    text = graph.add("CLIPTextEncode", clip=clip, text=CAPTION_TEXT)
    given = {
        "video": graph.add("VAEEncode", pixels=frames, vae=vae),
        "audio": graph.add("LTXVAudioVAEEncode", audio=sound, audio_vae=audio_vae),
        "text": graph.add("ProbeLtx2Text", model=model, conditioning=text),
    }
    for what, node in given.items():
        graph.add("SaveLatent", samples=node, filename_prefix=f"{name}{what}")
    run(host, graph.prompt, seconds=300).succeeded()

    root = clips / ".precomputed"
    (item,) = read_index(root).items
    ours = {
        s: load_file(root / files["latents"].path)["latents"] for s, files in item.streams.items()
    }
    theirs = {what: saved(host, f"{name}{what}") for what in given}
    assert ours["audio"].shape == (8, 35, 16)
    ours["audio"] = ours["audio"][:, :33]  # the next ones see the end
    for stream in ("video", "audio"):
        expected = theirs[stream][0, :, : ours[stream].shape[1]]
        assert ours[stream].shape == expected.shape
        assert expected.std() > 0.2
        assert (ours[stream] - expected).abs().max() < 1e-4, stream
    stored = load_file(root / item.caption.embedding.path)
    both = torch.cat([stored["video_text"], stored["audio_text"]], dim=-1)
    assert both.shape == theirs["text"][0].shape
    assert (both - theirs["text"][0]).abs().max() <= 1e-5 * theirs["text"].abs().max()


def test_a_tone_keeps_its_place_and_pitch(host: Host, clips: Path) -> None:
    graph = Graph()
    vae = graph.add("ProbeLtx2Vae", timesteps=False)
    parts = {"vae": vae, "clip": clip_of(graph, "2.3"), "audio_vae": audio_vae_of(graph)}
    preprocess(graph, host, clips, checkpoint(host, "2.3"), **parts)
    run(host, graph.prompt, seconds=300).succeeded()
    root = clips / ".precomputed"
    (item,) = read_index(root).items
    latents = load_file(root / item.streams["audio"]["latents"].path)["latents"]
    audio_vae = open_model(MINIATURE).load_audio_vae()
    loudest = audio_vae.decode_mel(latents[None])[0, 0].exp().amax(1)
    heard = np.flatnonzero(loudest > loudest.max() / 4) * MEL_SECONDS
    assert heard[[0, -1]] == pytest.approx(TONE_SECONDS, abs=LATENT_SECONDS)
    sound = audio_vae.decode(latents[None])[0, 0].numpy()
    tone = sound[round(0.7 * RATE) : round(0.9 * RATE)]
    spectrum = np.abs(np.fft.rfft(tone * np.hanning(len(tone))))
    assert spectrum.argmax() * RATE / len(tone) == pytest.approx(TONE_HZ, rel=0.03)


def refused(host: Host, clips: Path, model: object, generation: str, **parts: str) -> str:
    graph = Graph()
    made = {
        "vae": lambda: graph.add("ProbeLtx2Vae", timesteps=False),
        "ltxv_vae": lambda: graph.add("ProbeLtx2Vae", timesteps=True),
        "audio_vae": lambda: audio_vae_of(graph),
        "clip": lambda: clip_of(graph, generation),
    }
    preprocess(graph, host, clips, model, **{at: made[part]() for at, part in parts.items()})
    return failure(host, graph.prompt)


def test_parts_of_another_model_are_refused_in_a_sentence(host: Host, clips: Path) -> None:
    of_2_5 = checkpoint(host, "2.5")
    told = refused(host, clips, of_2_5, "2.3", vae="vae", clip="clip", audio_vae="audio_vae")
    assert "text_encoder: is one of LTX-2.3, and" in told
    assert "is an LTX-2.5, which needs the Gemma 4 12B of LTX-2.5" in told
    told = refused(host, clips, of_2_5, "2.5", vae="ltxv_vae", clip="clip", audio_vae="audio_vae")
    assert "the VAE is LTX-Video's, the text encoder is LTX-2's, the audio VAE is LTX-2's" in told
    told = refused(host, clips, "LTXV_MINIATURE", "2.3", vae="vae")
    assert "vae: is one of LTX-2, and LTXV_MINIATURE is a model of LTX-Video" in told
    told = refused(host, clips, of_2_5, "2.5", vae="ltxv_vae")
    assert "vae: is one of LTX-Video, and" in told
    told = refused(host, clips, of_2_5, "2.5", vae="audio_vae")
    assert "the VAE on the canvas is an audio VAE: connect it to audio_vae" in told
    told = refused(host, clips, of_2_5, "2.5", vae="vae", audio_vae="vae")
    assert "the audio VAE on the canvas is a VideoVAE: connect Load LTXV Audio VAE" in told


def test_what_is_missing_is_named_with_where_to_get_it(host: Host, clips: Path) -> None:
    path = checkpoint(host, "2.3")
    told = refused(host, clips, path, "2.3")
    assert "connect `vae` of Preprocess LTXV Dataset to Load Checkpoint" in told or (
        "connect `clip` of Preprocess LTXV Dataset" in told
    )
    told = refused(host, clips, path, "2.3", vae="vae", clip="clip")
    assert "connect `audio_vae` of Preprocess LTXV Dataset to Load LTXV Audio VAE" in told
    told = refused(host, clips, path, "2.3", vae="vae", audio_vae="audio_vae")
    assert "Gemma 3 12B with the text projection of LTX-2.3" in told


def listed(host: Host, folder: str, name: str) -> Path:
    path = host.base / "models" / folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def test_files_of_the_lists_encode_without_sockets(host: Host, clips: Path) -> None:
    whole = write_whole(listed(host, "checkpoints", "whole-2.3.safetensors"), "2.3")
    gemma = write_gemma_file(listed(host, "text_encoders", "small-gemma.safetensors"), "Gemma 3")
    graph = Graph()
    model = add(
        graph,
        host,
        "LTXVTrainModelConfig",
        model_file=f"checkpoints/{whole.name}",
        text_encoder_file=f"text_encoders/{gemma.name}",
        audio_vae_file=f"checkpoints/{whole.name}",
    )
    add(
        graph,
        host,
        "LTXVTrainDatasetPreprocess",
        dataset_path=clips.name,
        model=model,
        resolution_buckets=SIZE,
    )
    base = graph.add("LTXVTrainLoadModel", model=model)
    frames = graph.add("LoadImage", image=f"{clips.name}/frames.png")
    name = f"{clips.name}loaded"
    graph.add(
        "SaveLatent",
        samples=graph.add("VAEEncode", pixels=frames, vae=base[2]),
        filename_prefix=name,
    )
    run(host, graph.prompt, seconds=300).succeeded()
    root = clips / ".precomputed"
    (item,) = read_index(root).items
    ours = load_file(root / item.streams["video"]["latents"].path)["latents"]
    assert (ours - saved(host, name)[0]).abs().max() < 1e-4, "the VAE that the node loads"
    stored = load_file(root / item.caption.embedding.path)
    opened = open_model(str(whole), text_encoder_source=str(gemma))
    (expected,) = opened.load_text_encoder().encode([item.caption.text])
    for name, tensor in stored.items():
        assert (tensor - expected[name]).abs().max() < 1e-4, name
    shapes = {
        stream: load_file(root / role["latents"].path)["latents"].shape
        for stream, role in item.streams.items()
    }
    assert shapes == {"video": (128, 3, 3, 3), "audio": (8, 35, 16)}
