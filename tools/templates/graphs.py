"""The example workflows. A file's name is the title that the template browser shows."""

from collections.abc import Callable

from . import ltx2_examples
from .canvas import Node, Schemas, Subgraph, Workflow
from .stock import Combo
from .trainer_examples import EXAMPLES, template

MINIATURE, SIZE = "LTXV_MINIATURE", "96x96x17"
WITH_SOUND, SOUND_FPS = "LTX2_MINIATURE", 12.0
NOTE, MODEL, DEMO, DATA, RECIPE, TRAIN = (
    (275, 125),
    (275, 130),
    (275, 250),
    (275, 285),
    (275, 520),
    (360, 560),
)
SAMPLES, VIDEO = (300, 110), (300, 330)


def first_lora(schemas: Schemas) -> Workflow:
    w = Workflow(schemas)
    note = _note(
        w,
        "## Your first LoRA\n\nPress **Run**: the graph draws clips with **stripes**, trains a LoRA on them and shows "
        "one prompt without and with it, in about three minutes and without a download. The model is a "
        "**miniature**; your own clips: *Your videos to a LoRA*.",
    )
    clips, data = _demo_data(w)
    recipe = _recipe(w, data, model_source=MINIATURE, prompts=clips["prompt"], name="first-lora")
    train = w.add("LTXVTrainLoRA", TRAIN, config=recipe["config"])
    samples = _samples(w, _miniature_samples(schemas), SAMPLES, train, prompt=clips["prompt"])
    w.column("1  Data", note, clips, data)
    w.column("2  Training", recipe)
    w.column("2  Training", train)
    w.column("3  Result", *samples)
    return w


def your_videos(schemas: Schemas) -> Workflow:
    w = Workflow(schemas)
    note = w.add(
        "MarkdownNote",
        (275, 215),
        "Start here",
        text="## Your videos to a LoRA\n\n1. *Preprocess*: write the **path** of a folder with videos and a "
        "`.txt` beside each, or of a csv with the columns `media_path` and `caption`.\n2. *Base model*: "
        "choose it **once, here**. `LTXV_MINIATURE`, with the buckets `auto:96x96x17`, tries everything in "
        "minutes and without a download.\n3. *Recipe*: choose a **goal** and write a prompt with your "
        "trigger word.\n4. Press **Run**. Cancel keeps what was trained; Run resumes it.",
    )
    model = w.add("LTXVTrainModelConfig", MODEL, "Base model", model_source="LTXV_2B_0.9.6_DEV")
    data = w.add(
        "LTXVTrainDatasetPreprocess",
        (275, 240),
        dataset_path="",
        model=model["model"],
        resolution_buckets="auto:768x448x89",
    )
    recipe = _recipe(w, data, model=model["model"], name="my-lora")
    train = w.add("LTXVTrainLoRA", TRAIN, config=recipe["config"])
    samples = _samples(
        w,
        _samples_of_model(schemas),
        (300, 330),
        train,
        model=model["model"],
        preprocessed_data_root=data["preprocessed_data_root"],
    )
    w.column("1  Data", note, model, data)
    w.column("2  Training", recipe)
    w.column("2  Training", train)
    w.column("3  Result", *samples)
    return w


def ic_lora(schemas: Schemas) -> Workflow:
    w = Workflow(schemas)
    note = _note(
        w,
        "## An IC-LoRA from any graph\n\nIt follows a second video: here the **edges** of each clip, from "
        "ComfyUI's Canny node. Put other nodes in its place (depth, pose, blur). **Run** trains the "
        "miniature; own clips: their path in *Load videos*.",
    )
    clips = w.add("LTXVTrainDemoDataset", DEMO, "Draw demo clips", clips=12)
    loaded = w.add(
        "LTXVTrainDatasetVideos", (275, 175), "Load videos", dataset_path=clips["dataset_path"]
    )
    edges = w.add("Canny", (275, 105), image=loaded["images"])
    pairs = w.add(
        "LTXVTrainDatasetWithReferences",
        (275, 185),
        "Write pairs",
        references=edges["IMAGE"],
        dataset_path=loaded["dataset_path"],
        names=loaded["names"],
    )
    data = w.add(
        "LTXVTrainDatasetPreprocess",
        DATA,
        dataset_path=pairs["dataset_path"],
        model_source=MINIATURE,
        resolution_buckets=SIZE,
    )
    recipe = _recipe(w, data, goal="ic-lora", model_source=MINIATURE, name="edges")
    train = w.add("LTXVTrainICLoRA", TRAIN, config=recipe["config"])
    w.column("1  Data", note, clips, loaded)
    w.column("2  Pairs", edges, pairs, data)
    w.column("3  Training", recipe)
    w.column("3  Training", train)
    return w


def stages(schemas: Schemas) -> Workflow:
    w = Workflow(schemas)
    note = _note(
        w,
        "## Stages, with samples\n\nThe first node trains and shows samples; the second **continues "
        "that run** for as many steps again. Each stage stays on disk. Give the second a recipe of its own "
        "to change how it learns.",
    )
    clips, data = _demo_data(w)
    recipe = _recipe(
        w, data, model_source=MINIATURE, prompts=clips["prompt"], effort="draft", name="stages"
    )
    first = w.add("LTXVTrainLoRA", (360, 400), "First stage", config=recipe["config"])
    between = w.add("PreviewImage", (360, 180), "Samples of the first", images=first["samples"])
    second = w.add(
        "LTXVTrainLoRA",
        (360, 400),
        "Second stage",
        config=recipe["config"],
        continue_from=first["run"],
    )
    last = w.add("PreviewImage", (360, 180), "Samples of the second", images=second["samples"])
    w.column("1  Data", note, clips, data)
    w.column("2  Recipe", recipe)
    w.column("3  First stage", first, between)
    w.column("4  Second stage", second, last)
    return w


def compare(schemas: Schemas) -> Workflow:
    w = Workflow(schemas)
    note = _note(
        w,
        "## Continue and compare\n\nTwo runs differ in **one thing**, the LoRA's rank. Select both in *LTXV "
        "runs* (side bar) and compare charts and samples. Raise *effort* and run again: both continue, none "
        "starts anew.",
    )
    clips, data = _demo_data(w)
    nodes: list[list[Node]] = []
    for rank in (2, 16):
        lora = w.add("LTXVTrainLoRAConfig", (275, 130), f"Rank {rank}", rank=rank, alpha=rank)
        recipe = _recipe(
            w,
            data,
            model_source=MINIATURE,
            prompts=clips["prompt"],
            effort="draft",
            name=f"rank-{rank}",
            lora=lora["lora"],
        )
        train = w.add("LTXVTrainLoRA", (360, 340), f"Train rank {rank}", config=recipe["config"])
        nodes.append([lora, recipe, train])
    w.column("1  Data", note, clips, data)
    for lora, recipe, _ in nodes:
        w.column("2  Two recipes", lora, recipe)
    w.column("3  Two runs", *(train for _, _, train in nodes))
    return w


def several(schemas: Schemas) -> Workflow:
    w = Workflow(schemas)
    note = _note(
        w,
        "## Small clips first, then large ones\n\nThe same clips in **two sizes** are two data sets of one run: stage 1 "
        "trains the small ones, which is fast, stage 2 the large ones; *stage_steps* (advanced, *Both data sets*) says "
        "when. *LTXV runs* (side bar) draws the loss of each. **At once** instead: *stage_steps* empty, both stages "
        "1.",
    )
    clips = w.add("LTXVTrainDemoDataset", DEMO, "Draw demo clips")
    small, large = (
        w.add(
            "LTXVTrainDatasetPreprocess",
            (275, 260),
            title,
            dataset_path=clips["dataset_path"],
            model_source=MINIATURE,
            resolution_buckets=size,
        )
        for title, size in (("Small clips", "64x64x9"), ("Large clips", SIZE))
    )
    added = w.add(
        "LTXVTrainAddDataset",
        (275, 250),
        "Large clips in stage 2",
        preprocessed_data_root=large["preprocessed_data_root"],
        first_stage=2,
        last_stage=2,
    )
    data = w.add(
        "LTXVTrainDataConfig",
        (275, 150),
        "Both data sets",
        preprocessed_data_root=small["preprocessed_data_root"],
        more_data_sets=added["more_data_sets"],
        stage_steps="100",
    )
    recipe = w.add(
        "LTXVTrainRecipe",
        RECIPE,
        model_source=MINIATURE,
        prompts=clips["prompt"],
        name="small-to-large",
        data=data["data"],
    )
    train = w.add("LTXVTrainLoRA", (360, 400), config=recipe["config"])
    sheet = w.add("PreviewImage", (360, 180), "Samples", images=train["samples"])
    w.column("1  Data", note, clips, small)
    # The encoding nodes grow when they have run: they stand last.
    w.column("2  Stages", added, data, large)
    w.column("3  Training", recipe)
    w.column("3  Training", train, sheet)
    return w


def full(schemas: Schemas) -> Workflow:
    w = Workflow(schemas)
    note = _note(
        w,
        "## Full fine-tune\n\nEvery weight is trained, not a LoRA: it learns more and takes far more memory; "
        "*Recipe* says how much. The result is listed under *diffusion_models*, for *Load Diffusion "
        "Model*.",
    )
    clips, data = _demo_data(w)
    recipe = _recipe(
        w, data, goal="full", model_source=MINIATURE, prompts=clips["prompt"], name="whole-model"
    )
    train = w.add("LTXVTrainModel", TRAIN, config=recipe["config"])
    sheet = w.add("PreviewImage", (275, 300), "Samples", images=train["samples"])
    curve = w.add("PreviewImage", (275, 250), "Loss", images=train["loss_curve"])
    w.column("1  Data", note, clips, data)
    w.column("2  Training", recipe)
    w.column("2  Training", train)
    w.column("3  Result", sheet, curve)
    return w


def with_sound(schemas: Schemas) -> Workflow:
    w = Workflow(schemas)
    note = _note(
        w,
        "## Your first LoRA with sound\n\nPress **Run**: the graph draws clips with **stripes** and a **beep**, trains "
        "a LoRA on what is seen and heard, and shows one prompt without and with it, in about four minutes. "
        "Needs a ComfyUI that knows **LTX-2** (0.33 is tested).",
    )
    clips, data = _demo_data(w, WITH_SOUND, task=Combo("stripes_and_beep"))
    recipe = _recipe(w, data, model_source=WITH_SOUND, prompts=clips["prompt"], name="with-sound")
    train = w.add("LTXVTrainLoRA", TRAIN, config=recipe["config"])
    inner = _samples_with_sound(schemas)
    size = (SAMPLES[0], SAMPLES[1] + 40)  # two videos
    samples = w.subgraph(inner, size, lora_name=train["lora_name"], prompt=clips["prompt"])
    videos = [
        w.add(
            "SaveVideo",
            (300, 240),
            f"{word} the LoRA",
            video=samples[word.lower()],
            filename_prefix=f"ltxv_train/{word.lower()}-the-lora",
        )
        for word in ("Without", "With")
    ]
    w.column("1  Data", note, clips, data)
    w.column("2  Training", recipe)
    w.column("2  Training", train)
    w.column("3  Result", samples, *videos)
    return w


TEMPLATES: dict[str, Callable[[Schemas], Workflow]] = {
    "First LoRA on the miniature": first_lora,
    "First LoRA with sound": with_sound,
    "Your videos to a LoRA": your_videos,
    "IC-LoRA from any ComfyUI graph": ic_lora,
    "Stages with samples between": stages,
    "Continue and compare": compare,
    "Small clips to large ones": several,
    "Full fine-tune": full,
    **{name: template(example) for name, example in EXAMPLES.items()},
    **{name: ltx2_examples.template(example) for name, example in ltx2_examples.EXAMPLES.items()},
}


def _note(w: Workflow, text: str) -> Node:
    return w.add("MarkdownNote", NOTE, "Start here", text=text)


def _demo_data(w: Workflow, model: str = MINIATURE, **task: object) -> tuple[Node, Node]:
    """Clips of moving shapes, and their latents for a miniature."""
    clips = w.add("LTXVTrainDemoDataset", DEMO, "Draw demo clips", **task)
    data = w.add(
        "LTXVTrainDatasetPreprocess",
        DATA,
        dataset_path=clips["dataset_path"],
        model_source=model,
        resolution_buckets=SIZE,
    )
    return clips, data


def _recipe(w: Workflow, data: Node, **inputs: object) -> Node:
    return w.add(
        "LTXVTrainRecipe",
        RECIPE,
        preprocessed_data_root=data["preprocessed_data_root"],
        **inputs,
    )


def _samples(
    w: Workflow, inner: Subgraph, size: tuple[int, int], train: Node, **inputs: object
) -> tuple[Node, Node]:
    """The node that samples, and its video: without the LoRA at the left, with it at the right."""
    samples = w.subgraph(inner, size, lora_name=train["lora_name"], **inputs)
    video = w.add(
        "SaveVideo",
        VIDEO,
        "Without and with the LoRA",
        video=samples["video"],
        filename_prefix="ltxv_train/without-and-with",
    )
    return samples, video


def _miniature_samples(schemas: Schemas) -> Subgraph:
    s = Subgraph("Sample without and with the LoRA", schemas)
    written = s.add("LTXVTrainMiniatureCheckpoint")
    model = s.add("CheckpointLoaderSimple", ckpt_name=written["ckpt_name"])
    positive = s.add("LTXVTrainMiniaturePrompt", (300, 120))
    negative = s.add("LTXVTrainMiniaturePrompt", (300, 120), text="")
    _sampling(s, model, model["VAE"], positive["conditioning"], negative["conditioning"], 20)
    s.take("prompt", (positive, "text"), value="a red circle moves right on a teal background")
    return s


def _samples_with_sound(schemas: Schemas) -> Subgraph:
    """The second miniature, sampled without and with a LoRA from the same noise."""
    s = Subgraph("Sample with sound", schemas)
    family = {"model": Combo("LTX-2")}
    written = s.add("LTXVTrainMiniatureCheckpoint", **family)
    model = s.add("CheckpointLoaderSimple", ckpt_name=written["ckpt_name"])
    audio_vae = s.add("LTXVAudioVAELoader", ckpt_name=written["ckpt_name"])["Audio VAE"]
    positive = s.add("LTXVTrainMiniaturePrompt", (300, 120), **family)
    negative = s.add("LTXVTrainMiniaturePrompt", (300, 120), text="", **family)
    lora = s.add("LTXVTrainLoadLoRA", (300, 120), model=model["MODEL"])
    texts = s.add(
        "LTXVConditioning",
        positive=positive["conditioning"],
        negative=negative["conditioning"],
        frame_rate=SOUND_FPS,
    )
    video = s.add("EmptyLTXVLatentVideo", (300, 150))["LATENT"]
    audio = s.add("LTXVEmptyLatentAudio", (300, 150), audio_vae=audio_vae)["Latent"]
    both = s.add("LTXVConcatAVLatent", video_latent=video, audio_latent=audio)["latent"]
    sigmas = s.add("LTXVScheduler", (300, 180), latent=video, steps=20)
    sampler = s.add("KSamplerSelect")
    s.take("lora_name", (lora, "lora_name"), value=Combo(""))
    for name, source in (("without", model["MODEL"]), ("with", lora["model"])):
        sampled = s.add(
            "SamplerCustom",
            (300, 240),
            model=source,
            positive=texts["positive"],
            negative=texts["negative"],
            sampler=sampler["SAMPLER"],
            sigmas=sigmas["SIGMAS"],
            latent_image=both,
        )
        parts = s.add("LTXVSeparateAVLatent", av_latent=sampled["output"])
        frames = s.add("VAEDecode", samples=parts["video_latent"], vae=model["VAE"])
        sound = s.add("LTXVAudioVAEDecode", samples=parts["audio_latent"], audio_vae=audio_vae)
        made = s.add("CreateVideo", images=frames["IMAGE"], audio=sound["Audio"], fps=SOUND_FPS)
        s.give(name, made["VIDEO"])
    s.take(
        "prompt",
        (positive, "text"),
        value="a red circle moves up on a blue background, a loud low hum",
    )
    return s


def _samples_of_model(schemas: Schemas) -> Subgraph:
    """With the model of a model section, in the size of the data set."""
    s = Subgraph("Sample your LoRA", schemas)
    model = s.add("LTXVTrainLoadModel", (300, 100))
    s.need("model", (model, "model"))
    positive = s.add("CLIPTextEncode", (300, 120), clip=model["CLIP"])
    negative = s.add(
        "CLIPTextEncode",
        (300, 120),
        clip=model["CLIP"],
        text="worst quality, inconsistent motion, blurry, jittery, distorted",
    )
    size = s.add("LTXVTrainDatasetSize", (300, 120))
    s.take("preprocessed_data_root", (size, "preprocessed_data_root"))
    _sampling(s, model, model["VAE"], positive["CONDITIONING"], negative["CONDITIONING"], 30, size)
    s.take("prompt", (positive, "text"), value="what you want to see, with your trigger word")
    return s


def _sampling(
    s: Subgraph,
    model: Node,
    vae: tuple[Node, str],
    positive: tuple[Node, str],
    negative: tuple[Node, str],
    steps: int,
    size: Node | None = None,
) -> None:
    """Samples without and with a LoRA from the same noise, side by side.

    Args:
        size: gives the size of the videos; without it, they have the miniature's.
    """
    sizes = (
        {"width": size["width"], "height": size["height"], "length": size["frames"]} if size else {}
    )
    lora = s.add("LTXVTrainLoadLoRA", (300, 120), model=model["MODEL"])
    rate = {"frame_rate": size["frame_rate"]} if size else {}
    texts = s.add("LTXVConditioning", positive=positive, negative=negative, **rate)
    latents = s.add("EmptyLTXVLatentVideo", (300, 150), **sizes)
    sigmas = s.add("LTXVScheduler", (300, 180), latent=latents["LATENT"], steps=steps)
    sampler = s.add("KSamplerSelect")
    s.take("lora_name", (lora, "lora_name"), value=Combo(""))
    images = []
    for source in (model["MODEL"], lora["model"]):
        sampled = s.add(
            "SamplerCustom",
            (300, 240),
            model=source,
            positive=texts["positive"],
            negative=texts["negative"],
            sampler=sampler["SAMPLER"],
            sigmas=sigmas["SIGMAS"],
            latent_image=latents["LATENT"],
        )
        images.append(s.add("VAEDecode", samples=sampled["output"], vae=vae)["IMAGE"])
    both = s.add("ImageStitch", (300, 170), image1=images[0], image2=images[1])
    fps = {"fps": size["frame_rate"]} if size else {}
    s.give("video", s.add("CreateVideo", images=both["IMAGE"], **fps)["VIDEO"])
