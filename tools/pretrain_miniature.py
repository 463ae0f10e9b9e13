"""Makes the miniature's weights from nothing but a seed.

    python -m tools.pretrain_miniature            42 minutes on one of 2 cores
    python -m tools.pretrain_miniature --check 5  a minute: scores the shipped weights

Run from the repository's root. First the autoencoder's factors are computed (a PCA of 300 clips
and a regression on 1,600; a minute). Then 12,000 clips are rendered and encoded (two minutes), and
transformer and text encoder are trained together for 5,500 steps of 32 clips on one thread.
Everything is drawn from one seed and the number of steps is fixed: the same machine and library
versions give the same weights. Until the end, the averaged weights are written every five minutes.
"""

import argparse
import sys
from pathlib import Path

import torch

from ltxv_train_core.families.ltxv.miniature import shipped
from ltxv_train_core.storage.tensors import write_safetensors

from . import miniature_vae_fit as vae_fit
from .miniature_check import check
from .miniature_pretraining import Settings, pretrain
from .miniature_tokenizer import write_tokenizer

VAE_CLIPS = 300
VAE_CONTEXT_CLIPS = 1600


def main() -> int:
    options = _parse()
    torch.set_num_threads(1)
    if options.check:
        return 0 if check(options.check) else 1
    settings = Settings(
        output=options.output,
        steps=options.steps,
        clip_count=options.clips,
        batch_size=options.batch_size,
        seed=options.seed,
        snapshot_seconds=options.snapshot_seconds,
    )
    settings.output.mkdir(parents=True, exist_ok=True)
    write_tokenizer(settings.output / shipped.TOKENIZER_FILE)
    factors = vae_fit.fit(VAE_CLIPS, VAE_CONTEXT_CLIPS, settings.seed)
    write_safetensors(settings.output / shipped.VAE_FILE, factors.tensors(), {"format": "pt"})
    if not options.vae_only:
        pretrain(settings, factors)
    return 0


def _parse() -> argparse.Namespace:
    summary, details = (__doc__ or "").split("\n", 1)
    parser = argparse.ArgumentParser(
        description=summary, epilog=details, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, default=shipped.FOLDER)
    parser.add_argument("--steps", type=int, default=5500)
    parser.add_argument("--clips", type=int, default=12000)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--snapshot-seconds", type=float, default=300)
    parser.add_argument("--vae-only", action="store_true", help="train no transformer")
    parser.add_argument(
        "--check", type=int, metavar="SEEDS", help="train nothing; score 16 prompts per seed"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
