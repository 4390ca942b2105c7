"""Power spectra of images, targets and reconstructions of a pretraining."""

import io
from collections.abc import Callable, Sequence
from typing import Any

import torch

from simmim_mm.datasets.errors import UnreadableImage
from simmim_mm.evaluation import spectrum
from simmim_mm.visualization.reconstructor import Reconstructor


def measure_spectra(
    reconstructor: Reconstructor,
    files: Sequence[str],
    edges: Sequence[float] = spectrum.BANDS,
    seed: int = 0,
    stats: str = 'true',
    skipped: Callable[[UnreadableImage], None] = lambda error: None,
) -> dict[str, Any]:
    """Means over images and channels, of images of the size of the run's pipeline.

    Args:
        reconstructor: The model.
        files: Images.
        edges: Of the bands, see :func:`~simmim_mm.evaluation.spectrum.band_power`.
        seed: Chooses the masks.
        stats: See :meth:`TargetGenerator.invert`.
        skipped: Called with the error of each file that cannot be read.

    Returns:
        ``images``, their number; ``bands``: by kind of error, its power in each band; ``profiles``:
        by kind of image, its power at each ``frequency``.

    Raises:
        FileNotFoundError: If no file can be read.
    """
    std = reconstructor.model.data_preprocessor.std.cpu()
    bands, profiles = {}, {}
    frequency = torch.empty(0)
    for i, file in enumerate(files):
        try:
            drawn = reconstructor.reconstruct([file], seed + i, stats)
        except UnreadableImage as error:
            skipped(error)
            continue
        for kind, error in spectrum.masked_errors(drawn, std).items():
            power = spectrum.band_power(spectrum.power_spectrum(error), edges)
            bands.setdefault(kind, []).append(power.mean((0, 1)))
        for kind in ('original', 'target', 'reconstruction'):
            power = spectrum.power_spectrum(drawn[kind] / std, window=True)
            frequency, profile = spectrum.radial_profile(power)
            profiles.setdefault(kind, []).append(profile.mean((0, 1)))
    if not bands:
        raise FileNotFoundError(f'none of the {len(files)} files is a readable image')
    return dict(
        images=len(bands['target']),
        bands={kind: torch.stack(v).mean(0).tolist() for kind, v in bands.items()},
        profiles={kind: torch.stack(v).mean(0).tolist() for kind, v in profiles.items()},
        frequency=frequency.tolist(),
    )


def ratio_of(a: float, b: float) -> float:
    return a / b if b else float('nan')


def draw_spectra(results: dict[str, Any], edges: Sequence[float]) -> bytes:
    """PNG of what :func:`measure_spectra` has found of some checkpoints, by their names.

    Left the spectra, right the error by band of frequency, relative to that of the mean color.
    """
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
    buffer = io.BytesIO()
    figure.savefig(buffer, format='png', dpi=120)
    return buffer.getvalue()
