"""Writes docs/configuration.md from the configuration.

python tools/write_configuration_reference.py          # write
python tools/write_configuration_reference.py --check  # exit code 1 if the page is out of date
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "configuration.md"

if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))

from ltxv_train_core import config  # noqa: E402
from ltxv_train_core.config import SECTIONS, TrainingConfig, options, yaml_file  # noqa: E402
from tools.generated import write_or_check  # noqa: E402
from tools.write_help_tables import PAGES, table  # noqa: E402

INTRODUCTION = """# Configuration

<!-- Written by tools/write_configuration_reference.py: change the options' fields, not this page. -->

A training run is described by {count} sections of options. The same options are the widgets of the
*Configure LTXV ...* nodes, the keys of a YAML file, and the words of `--set section.option=value`
on the command line. Only `data.preprocessed_data_root` must be given.

```sh
python -m ltxv_train_core check config.yaml            # every problem at once
python -m ltxv_train_core check config.yaml --strict   # missing paths are problems too, as in train
python -m ltxv_train_core train config.yaml --set optimization.learning_rate=5e-5
```

In a widget, "not set" (null in YAML) is 0, an empty text or `none`; a list has one entry per line
(numbers have commas between them); a mapping one `name: value` per line; a video size is WxHxF.

On the canvas, *Load LTXV Training Config* reads such a file and *Save LTXV Training Config* writes
one.
"""

FILES = """## YAML files

This is the whole configuration with its defaults:

```yaml
{example}```

Files of LTX-Video-Trainer are read as they are, the configurations that it saves with a run too. What
is written here has its names and no others, so that it can read it. Options that it doesn't know stand
in comments, which count here and not there, and only where they are not the default. Files of ltx-trainer are read
too ([LTX-2](models.md#ltx-2-video-with-sound)); `check` names what has no equal.

```yaml
# ltxv_train: options that LTX-Video-Trainer doesn't know; they count here
#| name: stripes
#| trackers:
#|   tensorboard: true
```

The same under a key `ltxv_train`, as older files have it, is read too. Both ways of writing are understood:

| There | Here |
|---|---|
| `wandb.enabled` | `trackers.wandb` |
| `wandb.project`, `entity`, `tags`, `log_validation_videos` | the same in `trackers` |
| `scheduler_params`: `T_0`, steps of a cycle | `cycles` = steps / `T_0` |
| `timestep_sampling_params`: `min_value`, `max_value` | `min`, `max` |
| `mixed_precision_mode: null`, or a bare `no` | `"no"` |
| `quantization: no_change`, or `none` | `null` |
| an option of ours in the comments, or in `ltxv_train.<section>` | in `<section>` |

Some defaults differ where a file leaves an option out: `lora` may be left out,
`conditioning.reference_latents_dir` is `reference_latents` (there `ref_latents`), the learning rate
1e-4 (5e-4), the guidance scale 3.0 (3.5), `checkpoints.keep_last_n` 5 (1), and
`cosine_with_restarts` goes down to 0 (5e-5) unless `eta_min` is given. The shift of the noise levels
stops growing at 4096 tokens; `timestep_sampling_params: {{shift_limit: 100}}` lets it grow on.
"""


def page() -> str:
    """The whole page."""
    parts = [INTRODUCTION.format(count=len(SECTIONS))]
    parts += [
        f"## {name}\n\n{section.summary} Node: {_node(name)}\n\n{table(options(section))}\n"
        for name, section in SECTIONS.items()
    ]
    parts.append(f"## Outside of the sections\n\n{table(config.top_level_options())}\n")
    example = config.build(TrainingConfig, {"data": {"preprocessed_data_root": "path/to/dataset"}})
    parts.append(FILES.format(example=yaml_file.dump(example)))
    return "\n".join(parts)


def _node(section: str) -> str:
    return f"`{PAGES[section]}`."


def contents() -> dict[Path, str]:
    return {PAGE: page()}


if __name__ == "__main__":
    write_or_check(__doc__, contents)
