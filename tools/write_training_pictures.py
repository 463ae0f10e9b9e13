"""Draws what good and bad samples look like, from five trainings of the miniature (some minutes on a CPU).

python -m tools.write_training_pictures [--output docs/pictures]

Writes `good_and_bad.png`, a sheet of samples, and `good_and_bad.json`, what was measured of them. All
samples are of the same prompts, with the same noise; no clip shows what the prompts ask for.
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from ltxv_train_core.config import TrainingConfig
from ltxv_train_core.demo import recipe
from ltxv_train_core.demo.evaluation import Evaluation
from ltxv_train_core.events import NeverStop, ignore
from ltxv_train_core.families.ltxv.miniature.clips import FPS, SIZE
from ltxv_train_core.families.ltxv.miniature.datasets import generate
from ltxv_train_core.families.ltxv.miniature.scores import score
from ltxv_train_core.families.names import VIDEO
from ltxv_train_core.families.open import MINIATURE, open_model
from ltxv_train_core.preprocessing.preprocess import PreprocessSettings, preprocess
from ltxv_train_core.training.decoding import decode_videos
from ltxv_train_core.training.trainer import train
from tools.generated import between

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "first-lora.md"
MEASURED = ROOT / "docs" / "pictures" / "good_and_bad.json"
BEGIN, END = "<!-- good and bad -->", "<!-- /good and bad -->"
TASK, SEED = "stripes", 0
SHOWN_PROMPTS = (0, 1, 3)
FRAME_PX, GAP_PX, MARGIN_PX, HEAD_PX, LABEL_PX = 96, 4, 12, 44, 20
DARK, LIGHT, GREY = "#1c1f22", "#e8e8e8", "#9aa4ad"


@dataclass(frozen=True)
class Case:
    """A training, and what its samples are an example of.

    Attributes:
        steps: 0: no training.
        clips: of the data set.
    """

    title: str
    note: str
    steps: int
    learning_rate: float = 2e-3
    clips: int = 24


CASES = (
    Case("Before", "no LoRA", 0),
    Case("Too short", "15 steps", 15),
    Case("Good", "150 steps, 2e-3", 150),
    Case("Rate too high", "150 steps, 5e-2", 150, learning_rate=5e-2),
    Case("Overfitted", "2 clips, 500 steps", 500, learning_rate=5e-3, clips=2),
)


def configuration(case: Case, data: Path, output: Path) -> TrainingConfig:
    """The demo's, with the case's steps and learning rate."""
    config = recipe.training_config(TASK, data, output, SEED, MINIATURE)
    changes = {"steps": case.steps, "learning_rate": case.learning_rate}
    optimization = config.optimization.model_copy(update=changes)
    return config.model_copy(update={"name": f"case-{case.clips}", "optimization": optimization})


def samples(folder: Path) -> Iterator[tuple[Case, list[np.ndarray], dict[str, float]]]:
    """For each case its videos, uint8 [F, H, W, 3], one for each prompt, and what was measured."""
    source = open_model(MINIATURE)
    evaluation = generate(TASK, folder / "prompts", clips=1, seed=SEED).evaluation
    prompts = [item.prompt for item in evaluation]
    asked = Evaluation(source, prompts, FPS, SEED, ignore, NeverStop())
    for case in CASES:
        lora, numbers = None, {}
        if case.steps:
            metadata = generate(TASK, folder / f"{case.clips}", clips=case.clips, seed=SEED)
            settings = PreprocessSettings(
                source=metadata.metadata,
                model_source=MINIATURE,
                resolution_buckets=str(SIZE),
                id_token=recipe.TRIGGER,
            )
            data = preprocess(settings, report=ignore, stop=NeverStop()).root
            result = train(configuration(case, data, folder / "runs"), ignore, NeverStop())
            lora = result.lora_file
        latents = asked.sample(lora)[VIDEO]
        videos = decode_videos(latents, source, torch.device("cpu"), ignore)
        found = score(TASK, videos, evaluation)
        numbers |= {"stripes": round(found.value, 3)}
        numbers |= {name: round(value, 2) for name, value in found.fidelity.items()}
        print(case.title, numbers, flush=True)
        yield case, videos, numbers


def sheet(columns: list[tuple[Case, list[np.ndarray]]], prompts: list[str]) -> Image.Image:
    """Two frames of each video: prompts down, cases across."""
    column_px = 2 * FRAME_PX + GAP_PX
    width = 2 * MARGIN_PX + len(columns) * column_px + (len(columns) - 1) * MARGIN_PX
    row_px = LABEL_PX + FRAME_PX + GAP_PX
    picture = Image.new("RGB", (width, MARGIN_PX + HEAD_PX + len(SHOWN_PROMPTS) * row_px), DARK)
    draw = ImageDraw.Draw(picture)
    large, small = ImageFont.load_default(17), ImageFont.load_default(13)
    for column, (case, videos) in enumerate(columns):
        left = MARGIN_PX + column * (column_px + MARGIN_PX)
        draw.text((left, 8), case.title, LIGHT, large)
        draw.text((left, 30), case.note, GREY, small)
        for row, prompt in enumerate(SHOWN_PROMPTS):
            top = MARGIN_PX + HEAD_PX + row * row_px
            if column == 0:
                draw.text((left, top), f"“zorp {prompts[prompt]}”", GREY, small)
            for place, frame in enumerate((videos[prompt][2], videos[prompt][-3])):
                x = left + place * (FRAME_PX + GAP_PX)
                picture.paste(Image.fromarray(frame), (x, top + LABEL_PX))
    return picture


def renewed(page: str) -> str:
    """The page with the table of what was measured written anew."""
    measured = json.loads(MEASURED.read_text(encoding="utf-8"))
    rows = [
        "| | Training | Stripes, 0 to about 0.6 | Background as asked | Colour | Movement |",
        "|---|---|---|---|---|---|",
        *(
            f"| {title} | {row['note']} | {max(0.0, row['stripes']):.2f} | {row['background']:.0%} | "
            f"{row['colour']:.0%} | {row['motion']:.0%} |"
            for title, row in measured.items()
        ),
    ]
    table = "\n".join(rows)
    return between(page, BEGIN, END, f"\n{table}\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "pictures")
    output = parser.parse_args().output
    output.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as folder:
        found = list(samples(Path(folder)))
        prompts = [
            item.prompt
            for item in generate(TASK, Path(folder) / "prompts", clips=1, seed=SEED).evaluation
        ]
    sheet([(case, videos) for case, videos, _ in found], prompts).save(
        output / "good_and_bad.png", optimize=True
    )
    table = {case.title: {"note": case.note, **numbers} for case, _, numbers in found}
    text = json.dumps(table, indent=2, ensure_ascii=False) + "\n"
    (output / "good_and_bad.json").write_text(text, encoding="utf-8", newline="\n")
    PAGE.write_text(renewed(PAGE.read_text(encoding="utf-8")), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
