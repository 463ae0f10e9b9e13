"""Stand-in for ComfyUI's folders, below one base folder."""

import os
from pathlib import Path

base_path = ""
models_dir = ""
folder_names_and_paths = dict.fromkeys(
    (
        "checkpoints",
        "configs",
        "custom_nodes",
        "diffusion_models",
        "loras",
        "text_encoders",
        "vae",
    )
)


def get_input_directory() -> str:
    return str(Path(base_path, "input"))


def get_output_directory() -> str:
    return str(Path(base_path, "output"))


def get_temp_directory() -> str:
    return str(Path(base_path, "temp"))


def get_user_directory() -> str:
    return str(Path(base_path, "user"))


def get_folder_paths(folder_name: str) -> list[str]:
    return [str(Path(base_path, "models", folder_name))]


def get_filename_list(folder_name: str) -> list[str]:
    folder = Path(base_path, "models", folder_name)
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*.safetensors"))


def get_full_path(folder_name: str, filename: str) -> str | None:
    name = os.path.relpath(os.path.join("/", filename), "/")  # noqa: PTH118
    path = Path(base_path, "models", folder_name, name)
    return str(path) if path.is_file() else None


def get_full_path_or_raise(folder_name: str, filename: str) -> str:
    path = get_full_path(folder_name, filename)
    if path is None:
        raise FileNotFoundError(f"{folder_name}/{filename}")
    return path
