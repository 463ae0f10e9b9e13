"""What presets of target modules take, as a browser asks for it."""

import json
from typing import Any

from tests.host import Host
from tests.nodes.test_routes import ask


def asked(host: Host, **body: object) -> Any:
    sent = json.dumps(body)
    kind = {"Content-Type": "application/json"}
    return ask(host, "/ltxv_train/lora/presets", "POST", sent, kind)


def test_presets_of_the_model_on_a_node(host: Host) -> None:
    found = asked(host, rank=16, model_source="LTX2_MINIATURE", model_file="none")
    assert [each["preset"] for each in found.json] == ["video", "audio", "cross-modal", "all"]
    assert found.json[0] == {
        "preset": "video",
        "parameters": 262_144,
        "file_bytes": 4 * 262_144,
        "training_bytes": 18 * 262_144,
    }


def test_a_model_that_is_nowhere_is_named(host: Host) -> None:
    assert asked(host, rank=16, model_source="nowhere").status == 409
    assert asked(host, rank=0, model_source="LTX2_MINIATURE").status == 409
