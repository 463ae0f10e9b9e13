"""Upload of a run to the Hugging Face Hub: LoRA, configuration, model card with the samples.

Everything is made from the run's folder, so that it can be uploaded later, and again. The token is
the Hub client's own: HF_TOKEN, or the login on this machine.
"""

import os
from pathlib import Path
from tempfile import TemporaryDirectory

from . import __version__
from .config import HubConfig, TrainingConfig, yaml_file
from .config.sharing import shareable
from .errors import LTXVTrainError
from .events import Notice, Progress, Reporter, ignore
from .files import write_json
from .model_card import Picture, model_card, write_picture
from .reading import read_json
from .runs import RunFolder

PHASE = "upload"
LARGEST_RECORD_BYTES = 2**16


class HubError(LTXVTrainError):
    """The Hub can't be reached or refuses; the run lies in its folder as before."""


def problems(config: TrainingConfig) -> list[str]:
    """Why an upload at the end of this run couldn't work, one line each."""
    if not config.hub.push_to_hub:
        return []
    from huggingface_hub import get_token

    if get_token():
        return []
    return [f"hub.push_to_hub: {_NO_TOKEN}"]


def push_when_finished(config: TrainingConfig, run: RunFolder, report: Reporter = ignore) -> None:
    """Uploads a finished run once to a repository, if its configuration says so.

    A failure is told, not raised.
    """
    if not config.hub.push_to_hub or not run.is_finished():
        return
    if _uploaded_to(run) == config.hub.hub_model_id:
        return
    try:
        push(run, config.hub, report)
    except Exception as error:
        report(
            Notice(
                f"{error}. Nothing is lost: the run lies in {run.folder}. Upload it later with\n"
                f'python -m ltxv_train_core push "{run.folder}"'
            )
        )


def push(run: RunFolder, hub: HubConfig | None = None, report: Reporter = ignore) -> str:
    """Uploads the newest LoRA of a run with all that belongs to it, as one commit.

    Args:
        hub: where to; None takes the run's own section.

    Returns:
        The address of the commit.

    Raises:
        HubError: the run is none, has no LoRA or no repository is named; there is no token; the
            Hub can't be reached or refuses.
    """
    from huggingface_hub import CommitOperationAdd, HfApi, get_token

    config = _configuration(run)
    hub = hub or config.hub
    if hub.hub_model_id is None:
        raise HubError(
            f"{run.folder}: its configuration names no repository; add --to username/name"
        )
    if not get_token():
        raise HubError(f"the LoRA is not uploaded to {hub.hub_model_id}: {_NO_TOKEN}")
    state = run.written_state()
    step, processes = (state.step, max(1, state.processes)) if state else (0, 1)
    loras = _loras(run, step)
    with TemporaryDirectory() as folder:
        pictures = _write_pictures(config, run, Path(folder), report)
        card = model_card(config, loras[0].name, step, pictures, processes)
        settings = yaml_file.dump(shareable(config))
        files: dict[str, Path | bytes] = {
            **{file.name: file for file in loras},
            **{picture.path: Path(folder, picture.path) for picture in pictures},
            "training_config.yaml": settings.encode("utf-8"),
            "README.md": card.encode("utf-8"),
        }
        report(Progress(PHASE, 0, 1, "commit"))
        try:
            api = HfApi(
                endpoint=os.environ.get("HF_ENDPOINT"),
                library_name="ltxv-train",
                library_version=__version__,
            )
            api.create_repo(hub.hub_model_id, private=hub.private, exist_ok=True)
            commit = api.create_commit(
                hub.hub_model_id,
                [CommitOperationAdd(name, content) for name, content in files.items()],
                commit_message=f"{run.name}, step {step}",
            )
        except Exception as error:
            raise HubError(f"the LoRA is not uploaded to {hub.hub_model_id}: {error}") from error
    report(Progress(PHASE, 1, 1, "commit"))
    address = str(commit.commit_url)
    write_json(_record(run), {"repository": hub.hub_model_id, "commit": address, "step": step})
    report(Notice(f"uploaded to {address}"))
    return address


_NO_TOKEN = "no token for the Hugging Face Hub; run `hf auth login`, or set HF_TOKEN"


def _record(run: RunFolder) -> Path:
    """Says that a run was uploaded, and where to."""
    return run.folder / "hub.json"


def _uploaded_to(run: RunFolder) -> str | None:
    """None also where the record is damaged."""
    try:
        record = read_json(_record(run), LARGEST_RECORD_BYTES)
    except (OSError, ValueError):
        return None
    repository = record.get("repository") if isinstance(record, dict) else None
    return repository if isinstance(repository, str) else None


def _configuration(run: RunFolder) -> TrainingConfig:
    if not run.config_file.is_file():
        raise HubError(f"{run.folder}: no run; give the folder that holds training_config.yaml")
    return yaml_file.load(run.config_file)


def _loras(run: RunFolder, step: int) -> list[Path]:
    """The LoRA files of a step, the trained one first."""
    main = run.lora_file(step)
    if not main.is_file():
        raise HubError(f"{run.folder}: has no LoRA yet; train it first")
    return [main, *sorted(set(main.parent.glob(f"{main.stem}-*.safetensors")) - {main})]


def _write_pictures(
    config: TrainingConfig, run: RunFolder, folder: Path, report: Reporter
) -> list[Picture]:
    """The newest samples as animated pictures below `folder`."""
    sheet = run.latest_sheet()
    if sheet is None:
        return []
    per_prompt = config.validation.videos_per_prompt
    prompts = [prompt for prompt in config.validation.prompts for _ in range(per_prompt)]
    videos = sorted(sheet.parent.glob("*.mp4"))[: len(prompts)]
    pictures = []
    (folder / "samples").mkdir()
    for number, (video, prompt) in enumerate(zip(videos, prompts, strict=False), start=1):
        pictures.append(Picture(f"samples/{video.stem}.webp", prompt))
        write_picture(video, folder / pictures[-1].path)
        report(Progress("prepare samples", number, len(videos), "video"))
    return pictures
