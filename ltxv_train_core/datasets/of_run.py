"""The data set that a run's configuration names. No torch."""

from pathlib import Path

from ..config import TrainingConfig
from ..errors import DataError
from ..families.family import Family
from ..families.names import AUDIO, MASK, REFERENCE
from ..families.other_trainers import TRAINED_FAMILIES
from ..families.registry import family_named
from ..geometry import VideoSize
from ..storage.paths import as_path
from .dataset import TrainingDataset
from .held_out import held_out
from .index import Example


def open_dataset(config: TrainingConfig) -> TrainingDataset:
    """Opens the data set with references and masks, where they are wanted, with its held-out clips and its prior.

    Raises:
        DataError: it lacks something, or no clip is longer than what is to be given of it.
        ConfigurationError: with `data.held_out_clips` nothing would be left to train on.
    """
    dataset = _opened(config, as_path(config.data.preprocessed_data_root))
    if count := config.data.held_out_clips:
        dataset = dataset.holding_out(held_out(dataset.items, count))
    if config.data.prior_data_root:
        prior = _opened(config, as_path(config.data.prior_data_root))
        if prior.index.family != dataset.index.family:
            raise DataError(
                f"data.prior_data_root: {prior.root} is for {prior.index.family}, and data.preprocessed_data_root for "
                f"{dataset.index.family}; preprocess both for one model"
            )
        dataset.prior = prior
    return dataset


def _opened(config: TrainingConfig, root: Path) -> TrainingDataset:
    wanted = config.conditioning
    references = wanted.reference_streams
    sound_roles = {REFERENCE} if AUDIO in references else set()
    if wanted.audio_mask_conditioning_p > 0:
        sound_roles.add(MASK)
    dataset = TrainingDataset(
        root,
        wanted.reference_latents_dir if references - {AUDIO} else None,
        wanted.mask_folder,
        wanted.caption_dropout_p,
        streams=wanted.seen_streams,
        sound_roles=sound_roles,
    )
    family = family_named(dataset.index.family)
    compat = config.flow_matching.compat
    if compat and family.name != TRAINED_FAMILIES[compat]:
        raise DataError(
            f"flow_matching.compat {compat}: that trainer trains {TRAINED_FAMILIES[compat]} alone, and "
            f"{root} is for {family.name}; leave it out"
        )
    grid = family.grid
    longest = max(grid.latent(VideoSize.parse(group)).frames for group in dataset.groups)
    found = wanted.whole_clip_problems(longest, str(root))
    if AUDIO in family.streams:
        sounds = [_sounds(item, family) for item in dataset.items if AUDIO in item.streams]
        found += wanted.whole_sound_problems(max(sounds, default=0), str(root))
    if found:
        raise DataError("; ".join(found))
    return dataset


def _sounds(item: Example, family: Family) -> int:
    """Latents in time of an example's sound."""
    return family.streams[AUDIO].latent_shape(VideoSize.parse(item.size), item.fps)[0]
