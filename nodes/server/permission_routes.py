"""What was allowed, and what is asked for, for a browser. docs/rest.md describes the routes.

Only these routes allow anything, and only where a person has pressed a button: no value of a graph,
a configuration or a run does.
"""

from dataclasses import asdict
from typing import TYPE_CHECKING

from ...ltxv_train_core.errors import ConfigurationError, LTXVTrainError, shown
from ...ltxv_train_core.permissions import GrantFile, Grants, Visibility, policy
from ...ltxv_train_core.permissions import Upload as UploadGrant
from .broadcast import broadcast_event
from .jobs import location_of

if TYPE_CHECKING:
    from ...ltxv_train_core.events import Event
    from ...ltxv_train_core.runs import RunFolder


def allowed() -> dict[str, object]:
    """Everything that was allowed, and the file that says so."""
    return _view(_grants().read())


def grant(body: dict[str, object]) -> dict[str, object]:
    """Raises `ConfigurationError` for what can't be allowed."""
    return _view(_grants().add(Grants.from_json(body)))


def revoke(body: dict[str, object]) -> dict[str, object]:
    """Removes permissions; raises `ConfigurationError` for what is none."""
    return _view(_grants().remove(Grants.from_json(body)))


def upload(run: "RunFolder") -> dict[str, object] | None:
    """The upload that a run asks for. Nothing is sent to find out."""
    from ...ltxv_train_core.publish.hub import upload_of

    found = upload_of(run)
    return asdict(found) if found else None


def answer_upload(run: "RunFolder", body: dict[str, object]) -> dict[str, object] | None:
    """Uploads a run, or remembers that it isn't wanted.

    Args:
        body: `answer` is "once", "always" or "no"; `repository` and `private` are what the person
            was shown: a configuration that has changed since gets no upload.

    Raises:
        HubError: it isn't uploaded.
        ConfigurationError: there is no such answer, or other things were shown.
    """
    from ...ltxv_train_core.publish import hub

    wanted, answer = hub.upload_of(run), body.get("answer")
    if answer not in ("once", "always", "no"):
        raise ConfigurationError([f"answer {shown(answer)}: expected once, always or no"])
    if wanted is None:
        raise LTXVTrainError(f"run {run.name} asks for no upload")
    if (body.get("repository"), body.get("private")) != (wanted.repository, wanted.private):
        raise ConfigurationError(
            [f"run {run.name} asks for another upload than was shown; look at it again"]
        )
    if answer == "no":
        hub.refuse(run)
        return upload(run)
    if answer == "always":
        visibility: Visibility = "private" if wanted.private else "public"
        _grants().add(Grants(uploads=(UploadGrant(wanted.repository, visibility),)))

    def report(event: "Event") -> None:
        broadcast_event(event, location_of(run.name), run.name)

    hub.push(run, report=report)
    return upload(run)


def _grants() -> GrantFile:
    return policy().grants


def _view(grants: Grants) -> dict[str, object]:
    return {**grants.to_json(), "file": str(_grants().path)}
