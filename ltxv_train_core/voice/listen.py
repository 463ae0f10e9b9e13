"""Listens to a run: its samples, and the sounds of its data set as the model's audio VAE gives them back."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.torch import load_file

from ..config import TrainingConfig
from ..datasets.index import data_folder, find_index, read_index
from ..errors import Cancelled, DataError, LTXVTrainError
from ..events import NeverStop, Progress, Reporter, StopSignal, ignore
from ..families.names import AUDIO, LATENTS
from ..families.open import open_model
from ..media.mel_scale import RATE
from ..media.sound import Sound, read_sound
from ..permissions import policy
from ..runs.folder import RunFolder, SampleSet
from ..storage.paths import as_path
from .features import SILENCE_DB, Features, features_of
from .file import NearestClip, Voice, write_voice
from .judge import Judgement, judge
from .picture import Row, voice_picture

MOST_CLIPS = 32
"""Of a data set, evenly spaced: decoding them takes a second each on a CPU."""
MOST_ROWS = 6


@dataclass(frozen=True, eq=False)
class Heard:
    """Sounds with their names and what they are like."""

    names: tuple[str, ...]
    sounds: tuple[Sound, ...]
    features: tuple[Features, ...]

    @classmethod
    def of(cls, names: Sequence[str], sounds: Sequence[Sound]) -> "Heard":
        """Measures each sound."""
        return cls(tuple(names), tuple(sounds), tuple(map(features_of, sounds)))


def listen_to(
    run: RunFolder,
    data: Path | None = None,
    report: Reporter = ignore,
    stop: StopSignal | None = None,
) -> Voice:
    """Compares the sound of a run's first and last samples with that of its data set, and writes `voice.json` and
    `voice.png` into its folder.

    Args:
        data: another preprocessed data set to compare with, of the same model.

    Raises:
        LTXVTrainError: there is no sound in the samples or the data set, the data set or the model isn't here, or
            may not be read.
        Cancelled: when it was stopped.
    """
    stop = stop or NeverStop()
    config = run.configuration()
    sets = _with_sound(run, config)
    clips = _clips(config, data, report, stop)
    after = _samples(sets[-1], config)
    before = _samples(sets[0], config) if len(sets) > 1 else None
    if before is not None and len(before.sounds) != len(after.sounds):
        before = None
    found = judge(before.features if before else None, after.features, clips.features)
    voice = Voice(
        result=found.result,
        text=found.text,
        step=sets[-1].step,
        before_step=sets[0].step if before else None,
        clips=len(clips.sounds),
        distance=found.distance,
        before=found.before,
        own=found.own,
        share=found.share,
        nearer=found.nearer,
        nearest=tuple(
            NearestClip(number, clips.names[each.clip][:200], each.distance_db)
            for number, each in enumerate(found.nearest)
        ),
    )
    heard = {"clips": clips.features, "before": before.features if before else ()}
    shown = {name: sounds for name, sounds in heard.items() if sounds}
    picture = voice_picture(
        list(_rows(config, sets, before, after, clips, found)), shown | {"after": after.features}
    )
    write_voice(run, voice, picture)
    return voice


def _with_sound(run: RunFolder, config: TrainingConfig) -> list[SampleSet]:
    """The samples by step, which have sound."""
    modalities = config.conditioning.modalities
    if modalities in ("video", "audio_to_video"):
        raise DataError(
            f"run {run.name}: conditioning.modalities is {modalities}, so it makes no sound that could be learned"
        )
    sets = [each for each in run.sample_sets() if each.videos]
    if not sets:
        raise DataError(
            f"run {run.name}: it has no samples; set validation.prompts and validation.interval, or ask for "
            "samples in the panel"
        )
    return sets


def _samples(found: SampleSet, config: TrainingConfig) -> Heard:
    seconds = config.validation.size.frames / config.validation.frame_rate
    sounds = [(path, read_sound(path, RATE, seconds)) for path in found.videos]
    silent = [path for path, sound in sounds if sound is None]
    if silent:
        raise DataError(
            f"{silent[0]}: has no sound; only runs of a model with sound, as LTX-2, can be listened to"
        )
    return Heard.of([path.name for path, _ in sounds], [each for _, each in sounds if each])


def _clips(config: TrainingConfig, data: Path | None, report: Reporter, stop: StopSignal) -> Heard:
    """Sounds of the data set, decoded as samples are: what the audio VAE can't say is missing in both."""
    root = data or as_path(config.data.preprocessed_data_root)
    policy().require_read(data_folder(root))
    path = find_index(root)
    index = read_index(path)
    clips = [item for item in index.items if AUDIO in item.streams]
    if not clips:
        raise DataError(
            f"{root}: its clips have no sound, so there is nothing to compare with; preprocess with `with_sound`, "
            "or compare with another data set"
        )
    chosen = np.linspace(0, len(clips) - 1, min(MOST_CLIPS, len(clips))).round().astype(int)
    model = config.model
    source = open_model(model.model_source, report=report, stop=stop, **model.part_sources())
    if AUDIO not in source.family.streams:
        raise LTXVTrainError(f"{source.name}: models of {source.family.name} have no sound")
    vae = source.load_audio_vae()
    sounds = []
    for number, which in enumerate(chosen):
        if stop.is_set():
            raise Cancelled("stopped")
        file = path.parent / clips[which].streams[AUDIO][LATENTS].path
        try:
            latents = load_file(file)[LATENTS].float()
        except (OSError, SafetensorError, KeyError) as error:
            raise DataError(f"{file}: can't be read ({error}); preprocess again") from error
        sounds.append(Sound(vae.decode(latents[None])[0].float().numpy(), vae.sample_rate))
        report(Progress("listen", number + 1, len(chosen), "sound"))
    heard = Heard.of([clips[which].name for which in chosen], sounds)
    if max(each.loudness_db.max() for each in heard.features) < SILENCE_DB:
        raise DataError(f"{root}: its clips are silent, so there is no sound to learn")
    return heard


def _rows(
    config: TrainingConfig,
    sets: list[SampleSet],
    before: Heard | None,
    after: Heard,
    clips: Heard,
    found: Judgement,
) -> list[Row]:
    """A row for each of the first prompts: before, after, and the nearest clip."""
    wanted = config.validation
    prompts = [prompt for prompt in wanted.prompts for _ in range(wanted.videos_per_prompt)]
    rows = []
    for number, near in enumerate(found.nearest[:MOST_ROWS]):
        sounds = {} if before is None else {f"step {sets[0].step}": before.sounds[number]}
        sounds[f"step {sets[-1].step}"] = after.sounds[number]
        sounds[f"nearest clip, {near.distance_db:.1f} dB"] = clips.sounds[near.clip]
        rows.append(Row(prompts[number] if number < len(prompts) else "", sounds))
    return rows
