"""Pictures at a node: written to the temporary folder, shown from there."""

import uuid
from pathlib import Path
from typing import Any

import folder_paths
from PIL import Image


class PreviewImage:
    """Frames [F, H, W, 3] in 0..1, each as a picture."""

    def __init__(self, image: Any, animated: bool = False, cls: Any = None):
        folder = Path(folder_paths.get_temp_directory())
        folder.mkdir(parents=True, exist_ok=True)
        self.values = []
        for pixels in (image * 255).round().byte().numpy():
            name = f"{uuid.uuid4().hex}.png"
            Image.fromarray(pixels).save(folder / name)
            self.values.append({"filename": name, "subfolder": "", "type": "temp"})

    def as_dict(self) -> dict[str, Any]:
        return {"images": self.values, "animated": (False,)}
