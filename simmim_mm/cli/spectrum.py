"""What models predict, by frequency: ``simmim spectrum CHECKPOINT FOLDER``."""

import argparse
import sys
from pathlib import Path
from typing import Any

from simmim_mm.cli.common import add_checkpoint_options, checkpoint_options, find_images

HELP = 'measure the error of reconstructions by frequency'
DESCRIPTION = """
Power spectra of images, targets and reconstructions, and the error by band of frequency.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('checkpoints', nargs='+', help='checkpoints (.pth) that training wrote')
    parser.add_argument('images', help='an image, or a folder of images (best: held-out ones)')
    parser.add_argument('--num', type=int, default=64, help='images to take from a folder')
    parser.add_argument('--seed', type=int, default=0, help='chooses the random masks')
    parser.add_argument(
        '--stats',
        choices=['true', 'visible'],
        default='true',
        help='where a normalized prediction gets its mean and contrast from: the whole image or '
        'the visible part only',
    )
    parser.add_argument(
        '--same-images',
        action='store_true',
        help='crop, scale and mask for every checkpoint as for the first, so that the '
        'numbers of several checkpoints compare',
    )
    parser.add_argument(
        '--edges', type=float, nargs='+', help='edges of the bands, as fractions of Nyquist'
    )
    add_checkpoint_options(parser)
    parser.add_argument('--out-dir', help='writes spectrum.csv and spectrum.png there')


def load_models(paths: list[str], args: argparse.Namespace) -> list:
    from simmim_mm.visualization.reconstructor import Reconstructor

    config, device = checkpoint_options(args)
    models = [Reconstructor.from_checkpoint(path, config, device) for path in paths]
    for path, model in zip(paths, models):
        if any(name.startswith('neck.') for name in model.missing):
            raise ValueError(f'{path} holds no weights of the decoder (neck.*)')
        if args.same_images:
            model.pipeline = models[0].pipeline
    return models


def table(results: dict[str, Any], edges: list) -> list[dict]:
    """A row for each checkpoint and band, and one for the sum of the bands."""
    from simmim_mm.experiments.spectra import ratio_of

    names = [f'{low:.3g}-{high:.3g}' for low, high in zip(edges, edges[1:])] + ['all']
    rows = []
    for checkpoint, result in results.items():
        bands = {kind: [*values, sum(values)] for kind, values in result['bands'].items()}
        for i, name in enumerate(names):
            # What is left of zero by rounding is zero.
            row = {kind: v[i] if v[i] > 1e-9 else 0.0 for kind, v in bands.items()}
            row['prediction / mean color'] = ratio_of(row['prediction'], row['mean color'])
            rows.append(dict(checkpoint=checkpoint, band=name, **row))
    return rows


def run(args: argparse.Namespace) -> None:
    from simmim_mm.evaluation.spectrum import BANDS
    from simmim_mm.experiments.spectra import draw_spectra, measure_spectra
    from simmim_mm.experiments.tables import markdown_table, write_csv

    args.edges = args.edges or list(BANDS)
    files = find_images(args.images, args.num)
    names = labels(args.checkpoints)
    models = load_models(args.checkpoints, args)
    results = {}
    for name, model in zip(names, models):
        found = measure_spectra(model, files, args.edges, args.seed, args.stats, _skipped)
        print(f'{name}: {found["images"]} images. {model.note(args.stats)}'.rstrip())
        results[name] = found
    rows = table(results, args.edges)
    print(
        '\nmean squared error of masked pixels, normalized by the std of the data preprocessor, by '
        f'band of frequency (fractions of Nyquist)\n\n{markdown_table(rows)}\n'
    )
    if args.out_dir:
        out = Path(args.out_dir)
        write_csv(out / 'spectrum.csv', rows)
        (out / 'spectrum.png').write_bytes(draw_spectra(results, args.edges))
        print(f'wrote {out}/spectrum.csv, spectrum.png')


def _skipped(error: Exception) -> None:
    print(f'warning: skipped {error}', file=sys.stderr)


def labels(paths: list[str]) -> list[str]:
    """Folder and name of each checkpoint, or the whole path where that is not enough."""
    short = ['/'.join(Path(path).with_suffix('').parts[-2:]) for path in paths]
    return short if len(set(short)) == len(set(paths)) else paths
