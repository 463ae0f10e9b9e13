"""The data sets that a run's configuration names, the clips that are held out, and its prior. No torch."""

from ..config import TrainingConfig
from ..config.data_set_lines import DataSetLine
from ..errors import DataError
from ..families.family import Family
from ..families.names import AUDIO, MASK, REFERENCE
from ..families.other_trainers import TRAINED_FAMILIES
from ..families.registry import family_named
from ..geometry import VideoSize
from ..storage.paths import as_path
from .dataset import TrainingDataset
from .held_out import held_out, require_apart
from .index import Example
from .joined import JoinedDataset, Part, require_alike

_FURTHER = "data.more_data_sets"


def open_dataset(config: TrainingConfig) -> TrainingDataset:
    """Opens the data sets with references and masks, where they are wanted, with held-out clips and the prior.

    Raises:
        DataError: one lacks something or doesn't go with the others, or no clip is longer than what is to be given of
            it.
        ConfigurationError: with `data.held_out_clips` nothing would be left to train on.
    """
    data = config.data
    first, *more = data.trained
    parts = [Part(_opened(config, first), first)]
    parts += [Part(_opened(config, line, _FURTHER), line) for line in more]
    dataset = parts[0].dataset
    if more:
        dataset = JoinedDataset(parts, data.stage_steps, data.balanced)
    opened = list(dataset.members)
    if count := data.held_out_clips:
        dataset = dataset.holding_out(held_out(dataset.items, count))
    lines = [line for line in data.further if line.is_held_out]
    if lines:
        measured = [Part(_opened(config, line, _FURTHER), line) for line in lines]
        require_apart(dataset.items, [(str(p.dataset.root), p.dataset.items) for p in measured])
        if dataset.held_out is not None:
            measured.insert(0, Part(dataset.held_out, first))
        require_alike([parts[0].dataset, *(part.dataset for part in measured)])
        dataset.held_out = JoinedDataset(measured)
        opened += dataset.held_out.members
    if data.prior_data_root:
        line = DataSetLine(data.prior_data_root)
        dataset.prior = _opened(config, line, "data.prior_data_root")
        require_alike([parts[0].dataset, dataset.prior])
        opened.append(dataset.prior)
    dataset.members = tuple(opened)
    return dataset


def _opened(
    config: TrainingConfig,
    line: DataSetLine,
    option: str = "data.preprocessed_data_root",
) -> TrainingDataset:
    root, wanted = as_path(line.root), config.conditioning
    references = wanted.reference_streams
    dropout = line.caption_dropout
    sound_roles = {REFERENCE} if AUDIO in references else set()
    if wanted.audio_mask_conditioning_p > 0:
        sound_roles.add(MASK)
    dataset = TrainingDataset(
        root,
        wanted.reference_latents_dir if references - {AUDIO} else None,
        wanted.mask_folder,
        wanted.caption_dropout_p if dropout is None else dropout,
        streams=wanted.seen_streams,
        sound_roles=sound_roles,
        option=option,
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
