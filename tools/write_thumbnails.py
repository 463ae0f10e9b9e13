"""Draws the templates' pictures from what `demo`, `demo --ic-lora` and `demo --family ltx2` wrote.

python tools/write_thumbnails.py outputs/demo/before_after.png outputs/demo-ic-lora/before_after.png \
    outputs/demo-ltx2/before_after.png

ComfyUI shows NAME.jpg beside NAME.json in its template browser.
"""

import argparse
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "example_workflows"
SIZE, FRAME_PX, MARGIN_PX = (512, 384), 232, 16
DEMO_FRAME_PX, DEMO_ROW_PX, DEMO_TOP_PX, DEMO_LEFTS_PX = 96, 122, 26, (8, 512)
"""Of the demo's picture: a row for each prompt, frames before training left, after it right."""
DARK, LIGHT = "#1c1f22", "#e8e8e8"

ROWS = {
    "First LoRA on the miniature": 0,
    "Your videos to a LoRA": 3,
    "Stages with samples between": 5,
    "Continue and compare": 11,
    "Full fine-tune": 12,
    "Small clips to large ones": 9,
    "LoRA 2B": 1,
    "LoRA 2B on 24 GB": 2,
    "LoRA 13B": 4,
    "Full fine-tune 2B": 6,
}
IC_LORA_ROWS = {
    "IC-LoRA from any ComfyUI graph": 0,
    "IC-LoRA 13B": 1,
    "LTX-2.3 IC-LoRA with sound": 2,
}
SOUND_ROWS = {
    "First LoRA with sound": 1,
    "LTX-2.3 LoRA with sound": 2,
    "LTX-2.3 LoRA from split files": 3,
    "LTX-2.3 voice": 4,
}
SOUND_ROW_PX, SOUND_HEIGHT_PX = 252, 224
"""Of the picture with sound: frames, and below them waveforms and spectrogram."""


def thumbnail(report: Path, row: int, has_sound: bool = False) -> Image.Image:
    """A frame before and one after training, of one prompt, with what they are below them; with sound two
    frames and what is heard."""
    picture = Image.new("RGB", SIZE, DARK)
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(22)
    with Image.open(report) as whole:
        for place, word in enumerate(("before", "after")):
            height = SOUND_ROW_PX if has_sound else DEMO_ROW_PX
            left, top = DEMO_LEFTS_PX[place], DEMO_TOP_PX + row * height
            x = MARGIN_PX + place * (FRAME_PX + MARGIN_PX)
            if has_sound:
                frame = whole.crop((left, top, left + FRAME_PX, top + SOUND_HEIGHT_PX))
            else:
                box = (left, top, left + DEMO_FRAME_PX, top + DEMO_FRAME_PX)
                frame = whole.crop(box).resize((FRAME_PX, FRAME_PX), Image.Resampling.LANCZOS)
            picture.paste(frame.convert("RGB"), (x, 44))
            draw.text((x + FRAME_PX / 2, 22), word, LIGHT, font, anchor="mm")
    note = "the miniature, trained on a CPU"
    draw.text((SIZE[0] / 2, SIZE[1] - 54), note, LIGHT, font, anchor="mm")
    return picture


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("demo", type=Path)
    parser.add_argument("ic_lora", type=Path)
    parser.add_argument("with_sound", type=Path)
    args = parser.parse_args()
    for name, row in ROWS.items():
        thumbnail(args.demo, row).save(FOLDER / f"{name}.jpg", quality=88)
    for name, row in IC_LORA_ROWS.items():
        thumbnail(args.ic_lora, row).save(FOLDER / f"{name}.jpg", quality=88)
    for name, row in SOUND_ROWS.items():
        thumbnail(args.with_sound, row, has_sound=True).save(FOLDER / f"{name}.jpg", quality=88)


if __name__ == "__main__":
    main()
