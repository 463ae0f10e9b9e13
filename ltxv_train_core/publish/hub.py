"""Upload of a run to the Hugging Face Hub: LoRA, configuration, model card with the samples.

A configuration may be anybody's: without the permission of this machine's user nothing is sent.
Everything is made from the run's folder, so that it can be uploaded later, and again. The token is
the Hub client's own: HF_TOKEN, or the login on this machine.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from .. import __version__
from ..config import HubConfig, TrainingConfig, yaml_file
from ..config.redact import shareable
from ..errors import LTXVTrainError
from ..events import Notice, PermissionAsked, Progress, Reporter, ignore
from ..families.registry import FAMILIES, family_of_lora
from ..permissions import policy
from ..runs import RunFolder
from ..runs.own_files import own_files
from ..storage.atomic import write_json
from ..storage.reading import read_json
from ..storage.safetensors_header import read_header
from .model_card import SampleImage, model_card, write_sample

UPLOAD_PHASE = "upload"
LARGEST_RECORD_BYTES = 2**16


class HubError(LTXVTrainError):
    """The Hub can't be reached or refuses. The run's folder is unchanged."""


@dataclass(frozen=True)
class RunUpload:
    """The upload that a run's configuration asks for.

    Attributes:
        files: names of what goes to the repository.
        account: whose token it would go with; None where nobody is logged in.
        status: it waits to be allowed, was refused for this run, or was made.
        commit: its address, when it was made.
    """

    repository: str
    private: bool
    files: tuple[str, ...]
    account: str | None
    status: Literal["waiting", "refused", "uploaded"]
    commit: str | None = None


def upload_problems(hub: HubConfig) -> list[str]:
    """Why an upload at the end of this run couldn't work, one line each."""
    if not _is_allowed(hub):
        return []
    from huggingface_hub import get_token

    if get_token():
        return []
    return [f"hub.push_to_hub: {_NO_TOKEN}"]


def upload_remarks(hub: HubConfig) -> list[str]:
    """Warnings about an upload that waits because it was not allowed."""
    if not hub.push_to_hub or _is_allowed(hub):
        return []
    kind = "private" if hub.private else "public"
    return [
        f"hub.push_to_hub: uploads to {hub.hub_model_id} ({kind}) were not allowed on this machine: "
        "the run trains, and its upload waits for you to allow it"
    ]


def push_when_finished(config: TrainingConfig, run: RunFolder, report: Reporter = ignore) -> None:
    """Uploads a finished run once to a repository, if its configuration says so and this machine's
    user has allowed it; otherwise the upload waits.

    A failure is reported, not raised.
    """
    if not config.hub.push_to_hub or not run.is_finished():
        return
    repository, record = config.hub.hub_model_id, _record_of(run)
    if repository in (record.get("repository"), record.get("refused")):
        return
    if not _is_allowed(config.hub):
        (line,) = upload_remarks(config.hub)
        report(Notice(f'{line}; or run python -m ltxv_train_core push "{run.folder}"'))
        report(PermissionAsked("uploads", str(repository)))
        return
    try:
        push(run, config.hub, report)
    except Exception as error:
        report(
            Notice(
                f"{error}. Nothing is lost: the run is in {run.folder}. Upload it later with\n"
                f'python -m ltxv_train_core push "{run.folder}"',
                is_problem=True,
            )
        )


def upload_of(run: RunFolder) -> RunUpload | None:
    """The upload that a finished run asks for, as far as it has come; None where it asks for none.

    Nothing is sent to find out.

    Raises:
        ConfigurationError: the run's configuration can't be read.
    """
    config, record = run.configuration(), _record_of(run)
    hub, state = config.hub, run.written_state()
    if not hub.push_to_hub or hub.hub_model_id is None or state is None or not run.is_finished():
        return None
    samples = len(_videos(config, run))
    files = (
        *(file.name for file in _loras(run, state.step)),
        *([f"{samples} validation samples"] if samples else []),
        "training_config.yaml",
        "README.md",
    )
    is_made = record.get("repository") == hub.hub_model_id
    is_refused = record.get("refused") == hub.hub_model_id
    return RunUpload(
        hub.hub_model_id,
        hub.private,
        files,
        account(),
        "uploaded" if is_made else "refused" if is_refused else "waiting",
        str(record.get("commit")) if is_made else None,
    )


def refuse(run: RunFolder) -> None:
    """Records that the user refused the upload of a run."""
    write_json(_record(run), {"refused": run.configuration().hub.hub_model_id})


def account() -> str | None:
    """Whose token an upload would use, in words; None without a token."""
    from huggingface_hub import get_token
    from huggingface_hub.utils import get_stored_tokens

    token = get_token()
    if not token:
        return None
    if os.environ.get("HF_TOKEN") == token:
        return "the token in HF_TOKEN"
    names = [name for name, each in get_stored_tokens().items() if each == token]
    return f"the login {names[0]} of this machine" if names else "the login of this machine"


def _is_allowed(hub: HubConfig) -> bool:
    wanted = hub.push_to_hub and hub.hub_model_id is not None
    return wanted and policy().may_upload(str(hub.hub_model_id), hub.private)


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
        images = _write_samples(config, run, Path(folder), report)
        family = family_of_lora((), read_header(loras[0]).metadata) or FAMILIES[0]
        card = model_card(config, loras[0].name, step, images, processes, family)
        settings = yaml_file.dump(shareable(config))
        files: dict[str, Path | bytes] = {
            **{file.name: file for file in loras},
            **{image.path: Path(folder, image.path) for image in images},
            "training_config.yaml": settings.encode("utf-8"),
            "README.md": card.encode("utf-8"),
        }
        report(Progress(UPLOAD_PHASE, 0, 1, "commit"))
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
    report(Progress(UPLOAD_PHASE, 1, 1, "commit"))
    address = str(commit.commit_url)
    write_json(_record(run), {"repository": hub.hub_model_id, "commit": address, "step": step})
    report(Notice(f"uploaded to {address}"))
    return address


_NO_TOKEN = "no token for the Hugging Face Hub; run `hf auth login`, or set HF_TOKEN"


def _record(run: RunFolder) -> Path:
    """The file that records the upload of a run."""
    return run.folder / "hub.json"


def _record_of(run: RunFolder) -> dict[str, Any]:
    """The record of the run's upload; empty where it can't be read."""
    try:
        value = read_json(_record(run), LARGEST_RECORD_BYTES)
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def _configuration(run: RunFolder) -> TrainingConfig:
    if not run.config_file.is_file():
        raise HubError(f"{run.folder}: no run; give the folder that holds training_config.yaml")
    return yaml_file.load(run.config_file)


def _loras(run: RunFolder, step: int) -> list[Path]:
    """The LoRA files of a step, the trained one first."""
    main = run.lora_file(step)
    files = own_files(run.weights, ".safetensors")
    if main not in files:
        raise HubError(f"{run.folder}: has no LoRA yet; train it first")
    return [main, *(file for file in files if file.stem.startswith(f"{main.stem}-"))]


def _write_samples(
    config: TrainingConfig, run: RunFolder, folder: Path, report: Reporter
) -> list[SampleImage]:
    """Writes the newest samples as animated WebP files below `folder`."""
    videos = _videos(config, run)
    images = []
    (folder / "samples").mkdir()
    for number, (video, prompt) in enumerate(videos, start=1):
        images.append(SampleImage(f"samples/{video.stem}.webp", prompt))
        write_sample(video, folder / images[-1].path)
        report(Progress("prepare samples", number, len(videos), "video"))
    return images


def _videos(config: TrainingConfig, run: RunFolder) -> list[tuple[Path, str]]:
    """The newest samples, each with its prompt."""
    sheet = run.latest_sheet()
    if sheet is None:
        return []
    per_prompt = config.validation.videos_per_prompt
    prompts = [prompt for prompt in config.validation.prompts for _ in range(per_prompt)]
    return list(zip(own_files(sheet.parent, ".mp4"), prompts, strict=False))
