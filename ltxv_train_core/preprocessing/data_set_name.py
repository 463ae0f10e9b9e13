"""What names a data set among those that share a folder."""

from collections.abc import Mapping

from ..config import PreprocessSettings
from ..config.tools.preprocessing import WITHOUT_EFFECT
from ..families.names import TEXT_ENCODER, VAE
from ..storage.atomic import sha256_json
from .encoders import EncoderSource, given_encoders

PATHS = frozenset({"source", "output_dir"})


def data_set_name(settings: PreprocessSettings, given: Mapping[str, EncoderSource[object]]) -> str:
    """Hex digest of the source, the options that have an effect, and the encoders that are given.

    It stays the same when clips or captions change: such a pass renews the data set. An option counts
    only where it isn't the default, so that a new option renames no data set.
    """
    unnamed = set(WITHOUT_EFFECT | PATHS)
    if given_encoders(given):
        unnamed.add("model_source")  # nothing of it is used
    options = settings.model_dump(mode="json", exclude=unnamed, exclude_defaults=True)
    if sizes := options.get("resolution_buckets"):
        options["resolution_buckets"] = "".join(sizes.split())
    identities = {name: source.identity for name, source in given.items()}
    usual = [identities.pop(VAE, None), identities.pop(TEXT_ENCODER, None)]
    others = [identities] if identities else []
    return sha256_json([_place(settings), options, usual, *others])


def _place(settings: PreprocessSettings) -> str:
    """The source seen from the folder that is written, so that both can be moved together."""
    source, beside = settings.source.absolute(), settings.root.absolute().parent
    return (source.relative_to(beside) if source.is_relative_to(beside) else source).as_posix()
