"""Makes a miniature's weights from nothing but a seed.

    python -m tools.pretrain_miniature                    42 minutes on one of 2 cores
    python -m tools.pretrain_miniature --model ltx2       starts from the first one's weights
    python -m tools.pretrain_miniature --check 5          a minute: scores the shipped weights

Run from the repository's root. First the autoencoder is made: for "ltxv" a PCA of 300 clips and a
regression on 1,600 (a minute), for "ltx2" a PCA of 600 sounds and 2,800 steps of an audio decoder
(four minutes). Then clips are rendered and encoded (two minutes), and transformer and text encoder
are trained together on one thread. Everything is drawn from one seed and the number of steps is
fixed: the same machine and library versions give the same weights. Until the end, the averaged
weights and what to continue from are written every five minutes; the same command continues.
"""

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from ltxv_train_core.families.ltx2.miniature import shipped as ltx2
from ltxv_train_core.families.ltx2.miniature import weights as ltx2_weights
from ltxv_train_core.families.ltxv.miniature import shipped as ltxv
from ltxv_train_core.families.ltxv.miniature import weights as ltxv_weights
from ltxv_train_core.storage.tensors import write_safetensors

from . import miniature_audio_fit as audio_fit
from . import miniature_ltx2_check, miniature_ltx2_pretraining, miniature_pretraining
from . import miniature_vae_fit as vae_fit
from .miniature_check import check
from .miniature_tokenizer import SOUND_WORDS, write_tokenizer
from .pretraining_loop import Settings, save_part

VAE_CLIPS = 300
VAE_CONTEXT_CLIPS = 1600
AUDIO_CLIPS = 300
AUDIO_DECODER_SOUNDS = 800
AUDIO_DECODER_STEPS = 2800


@dataclass(frozen=True)
class Miniature:
    """How one is made, by default.

    Attributes:
        fit_autoencoder: writes it into a folder.
        pretrain: trains the rest with what is there.
    """

    folder: Path
    steps: int
    clips: int
    batch_size: int
    fit_autoencoder: Callable[[Path, int], None]
    pretrain: Callable[[Settings], None]
    check: Callable[[int], bool]


def _fit_vae(folder: Path, seed: int) -> None:
    factors = vae_fit.fit(VAE_CLIPS, VAE_CONTEXT_CLIPS, seed)
    write_safetensors(folder / ltxv.VAE_FILE, factors.tensors(), {"format": "pt"})


def _fit_audio_vae(folder: Path, seed: int) -> None:
    factors = audio_fit.fit(AUDIO_CLIPS, seed + 1)
    write_safetensors(folder / ltx2.AUDIO_FACTORS_FILE, factors.tensors(), {"format": "pt"})
    decoder = audio_fit.train_decoder(factors, AUDIO_DECODER_SOUNDS, AUDIO_DECODER_STEPS, seed + 3)
    save_part(decoder, folder / ltx2.AUDIO_DECODER_FILE)


def _pretrain(settings: Settings) -> None:
    write_tokenizer(settings.output / ltxv.TOKENIZER_FILE)
    factors = ltxv_weights.load_vae_factors(settings.output)
    miniature_pretraining.pretrain(settings, factors)


def _pretrain_ltx2(settings: Settings) -> None:
    write_tokenizer(settings.output / ltx2.TOKENIZER_FILE, SOUND_WORDS)
    factors = ltx2_weights.load_audio_factors(settings.output)
    miniature_ltx2_pretraining.pretrain(settings, factors)


MINIATURES = {
    "ltxv": Miniature(ltxv.FOLDER, 5500, 12000, 32, _fit_vae, _pretrain, check),
    "ltx2": Miniature(
        ltx2.FOLDER, 4000, 4000, 16, _fit_audio_vae, _pretrain_ltx2, miniature_ltx2_check.check
    ),
}


def main() -> int:
    options = _parse()
    torch.set_num_threads(1)
    miniature = MINIATURES[options.model]
    if options.check:
        return 0 if miniature.check(options.check) else 1
    output = options.output or miniature.folder
    output.mkdir(parents=True, exist_ok=True)
    if options.only != "transformer":
        miniature.fit_autoencoder(output, options.seed)
    if options.only != "autoencoder":
        settings = Settings(
            output=output,
            state_file=options.state or Path("build") / f"pretraining-{options.model}.pt",
            steps=options.steps or miniature.steps,
            clip_count=options.clips or miniature.clips,
            batch_size=options.batch_size or miniature.batch_size,
            seed=options.seed,
            snapshot_seconds=options.snapshot_seconds,
        )
        miniature.pretrain(settings)
    return 0


def _parse() -> argparse.Namespace:
    summary, details = (__doc__ or "").split("\n", 1)
    parser = argparse.ArgumentParser(
        description=summary, epilog=details, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", choices=MINIATURES, default="ltxv")
    parser.add_argument("--output", type=Path, help="a folder; the shipped weights by default")
    parser.add_argument("--state", type=Path, help="the file that a training continues from")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--clips", type=int)
    parser.add_argument("--batch-size", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--snapshot-seconds", type=float, default=300)
    parser.add_argument(
        "--only", choices=["autoencoder", "transformer"], help="make only this, with what is there"
    )
    parser.add_argument(
        "--check", type=int, metavar="SEEDS", help="train nothing; score 16 prompts per seed"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
