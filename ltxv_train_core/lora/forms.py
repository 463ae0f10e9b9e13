"""The forms that LoRA files are written in; `lora.file` says what each is like."""

from typing import Literal, get_args

LoRAForm = Literal["comfy", "kohya", "diffusers"]
LORA_FORMS: tuple[LoRAForm, ...] = get_args(LoRAForm)
