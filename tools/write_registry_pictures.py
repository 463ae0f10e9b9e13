"""Draws what the Comfy Registry shows: docs/pictures/icon.png (400x400) and banner.png (1260x540, 21:9).

python -m tools.write_registry_pictures

The banner's frames are those of docs/pictures/good_and_bad.png.
"""

import argparse
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "docs" / "pictures"
DARK, LIGHT, GREY, BLUE, RED = "#1c1f22", "#f2f2f2", "#9aa4ad", "#1b2a6b", "#e03131"
ICON_PX, BANNER_PX = 400, (1260, 540)
FRAME_PX = 96
BEFORE_PX, AFTER_PX = (12, 76), (428, 76)
"""Where a frame before training and one after it lie in the sheet of samples."""


def icon() -> Image.Image:
    """A frame of the miniature: a red ball on stripes."""
    picture = Image.new("RGB", (ICON_PX, ICON_PX), BLUE)
    draw = ImageDraw.Draw(picture)
    stripe = ICON_PX // 6
    for left in range(0, ICON_PX, 2 * stripe):
        draw.rectangle((left, 0, left + stripe - 1, ICON_PX), LIGHT)
    edge = ICON_PX // 4
    draw.ellipse((edge - 14, edge - 14, ICON_PX - edge + 14, ICON_PX - edge + 14), BLUE)
    draw.ellipse((edge, edge, ICON_PX - edge, ICON_PX - edge), RED)
    return picture


def banner() -> Image.Image:
    """The name, and a sample without and with a LoRA."""
    picture = Image.new("RGB", BANNER_PX, DARK)
    draw = ImageDraw.Draw(picture)
    draw.text((60, 150), "LTXV Train", LIGHT, ImageFont.load_default(84))
    lines = "Train LoRAs for LTX-Video and LTX-2\non the ComfyUI canvas"
    draw.multiline_text((64, 270), lines, GREY, ImageFont.load_default(34), spacing=14)
    with Image.open(FOLDER / "good_and_bad.png") as sheet:
        for left, corner, word in ((740, BEFORE_PX, "before"), (990, AFTER_PX, "after")):
            x, y = corner
            frame = sheet.crop((x, y, x + FRAME_PX, y + FRAME_PX)).convert("RGB")
            picture.paste(frame.resize((220, 220), Image.Resampling.LANCZOS), (left, 150))
            draw.text((left + 110, 400), word, GREY, ImageFont.load_default(30), anchor="mm")
    return picture


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    icon().save(FOLDER / "icon.png", optimize=True)
    banner().save(FOLDER / "banner.png", optimize=True)


if __name__ == "__main__":
    main()
