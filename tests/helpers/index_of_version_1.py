"""Indexes of data sets as version 1 wrote them: one stream, and a field for each of its files."""

from typing import Any


def as_version_1(index: dict[str, Any]) -> dict[str, Any]:
    """The JSON of an index of today in the layout of version 1."""
    rest = {name: value for name, value in index.items() if name != "family"}
    return rest | {"version": 1, "items": [_item(item) for item in index["items"]]}


def _item(item: dict[str, Any]) -> dict[str, Any]:
    video = item["streams"]["video"]
    first, *more = [
        {"text": caption["text"], "conditions": caption["embedding"]}
        for caption in item["captions"]
    ]
    return {
        "name": item["name"],
        "caption": first["text"],
        "size": item["size"],
        "fps": item["fps"],
        "latents": video["latents"],
        "conditions": first["conditions"],
        "reference_latents": video.get("reference"),
        "mask": video.get("mask"),
        "more_captions": more,
    }
