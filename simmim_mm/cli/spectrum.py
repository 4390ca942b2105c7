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


def measure(name: str, reconstructor, files: list, args: argparse.Namespace) -> dict[str, Any]:
    """Means over images and channels: power by band of each error, radial profile of each image.

    The images of one checkpoint have one size: that of its pipeline.
    """
    import torch

    from simmim_mm.datasets import UnreadableImage
    from simmim_mm.evaluation import spectrum

    std = reconstructor.model.data_preprocessor.std.cpu()
    bands, profiles = {}, {}
    for i, file in enumerate(files):
        try:
            drawn = reconstructor.reconstruct([file], args.seed + i, args.stats)
        except UnreadableImage as error:
            print(f'warning: skipped {error}', file=sys.stderr)
            continue
        for kind, error in spectrum.masked_errors(drawn, std).items():
            power = spectrum.band_power(spectrum.power_spectrum(error), args.edges)
            bands.setdefault(kind, []).append(power.mean((0, 1)))
        for kind in ('original', 'target', 'reconstruction'):
            power = spectrum.power_spectrum(drawn[kind] / std, window=True)
            frequency, profile = spectrum.radial_profile(power)
            profiles.setdefault(kind, []).append(profile.mean((0, 1)))
    if not bands:
        raise FileNotFoundError(f'none of the {len(files)} files is a readable image')
    print(f'{name}: {len(bands["target"])} images. {reconstructor.note(args.stats)}'.rstrip())
    return dict(
        bands={kind: torch.stack(v).mean(0).tolist() for kind, v in bands.items()},
        profiles={kind: torch.stack(v).mean(0).tolist() for kind, v in profiles.items()},
        frequency=frequency.tolist(),
    )


def table(results: dict[str, Any], edges: list) -> list[dict]:
    """A row for each checkpoint and band, and one for the sum of the bands."""
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


def ratio_of(a: float, b: float) -> float:
    return a / b if b else float('nan')


def plot(path: Path, results: dict[str, Any], edges: list) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 4.5), layout='constrained')
    left, right = figure.subplots(1, 2)
    styles = dict(original='-', target='--', reconstruction=':')
    for k, (label, result) in enumerate(results.items()):
        for name, style in styles.items():
            if name == 'original' and k:
                continue  # the same images
            text = name if name == 'original' else f'{name}, {label}'
            profile = result['profiles'][name]
            left.loglog(result['frequency'], profile, style, color=f'C{k}', label=text)
        bands = result['bands']
        for name, style in (('prediction', '-'), ('target', '--')):
            ratio = [ratio_of(a, b) for a, b in zip(bands[name], bands['mean color'])]
            text = f'{name}, {label}'
            right.stairs(ratio, edges, baseline=None, ls=style, color=f'C{k}', label=text)
    floor = min(min(r['profiles']['original']) for r in results.values())
    left.set(ylabel='power per bin (normalized pixels)', ylim=(floor / 100, None))
    right.axhline(1, color='gray', lw=0.8)
    right.set(ylabel='squared error under the mask / that of the mean color', ylim=(0, None))
    right.set(xlim=(edges[0], min(edges[-1], 1.42)))
    for axes in (left, right):
        axes.set(xlabel='frequency, fraction of Nyquist')
        axes.legend(fontsize=8)
    figure.savefig(path, dpi=120)


def run(args: argparse.Namespace) -> None:
    from simmim_mm.evaluation.spectrum import BANDS
    from simmim_mm.experiments.tables import markdown_table, write_csv

    args.edges = args.edges or list(BANDS)
    files = find_images(args.images, args.num)
    names = labels(args.checkpoints)
    models = load_models(args.checkpoints, args)
    results = {name: measure(name, model, files, args) for name, model in zip(names, models)}
    rows = table(results, args.edges)
    print(
        '\nmean squared error of masked pixels, normalized by the std of the data preprocessor, by '
        f'band of frequency (fractions of Nyquist)\n\n{markdown_table(rows)}\n'
    )
    if args.out_dir:
        out = Path(args.out_dir)
        write_csv(out / 'spectrum.csv', rows)
        plot(out / 'spectrum.png', results, args.edges)
        print(f'wrote {out}/spectrum.csv, spectrum.png')


def labels(paths: list[str]) -> list[str]:
    """Folder and name of each checkpoint, or the whole path where that is not enough."""
    short = ['/'.join(Path(path).with_suffix('').parts[-2:]) for path in paths]
    return short if len(set(short)) == len(set(paths)) else paths
