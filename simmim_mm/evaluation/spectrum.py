"""Power spectra of images and of reconstruction errors: pure functions.

Frequencies are fractions of the Nyquist frequency (0.5 cycles per pixel), the same scale for every
image size: 1 is a stripe pattern of one pixel each; the corners of the spectrum reach 1.41.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

# Octaves, and PixMIM's cut-off: 40 bins of 224 pixels.
BANDS = (0.0, 1 / 16, 1 / 8, 1 / 4, 40 / 112, 1 / 2, 1.5)


def radial_frequency(size: Sequence[int]) -> Tensor:
    """``(H, W)`` float64: distance of each bin of ``fft2`` from the zero frequency."""
    fy, fx = (torch.fft.fftfreq(n, dtype=torch.float64) * 2 for n in size)
    return torch.hypot(fy[:, None], fx[None, :])


def power_spectrum(x: Tensor, window: bool = False) -> Tensor:
    """Power of each bin of the 2-D spectrum, float64, zero frequency first.

    Scaled so that the sum over all bins is the mean square over all pixels (Parseval); with a
    window, its expectation for a stationary texture.

    Args:
        x: ``(..., H, W)``.
        window: Fade the image out to its borders (Hann). Without, the jump from the right border to
            the left one adds power along the axes, since the transform takes images as periodic.
            The mean is left out of the fading, it stays in the zero bin.
    """
    x = x.double()
    H, W = x.shape[-2:]
    if window:
        mean = x.mean((-2, -1), keepdim=True)
        fade = _hann(H)[:, None] * _hann(W)[None, :]
        fade = (fade / fade.square().mean().sqrt()).to(x.device)
        x = (x - mean) * fade
    power = (torch.fft.fft2(x) / (H * W)).abs().square()
    if window:
        power[..., 0, 0] = mean[..., 0, 0].square()
    return power


def band_power(power: Tensor, edges: Sequence[float] = BANDS) -> Tensor:
    """Power within bands of frequency, ``(..., n)``: n sums.

    Args:
        power: ``(..., H, W)`` of :func:`power_spectrum`.
        edges: n + 1 rising fractions of Nyquist; a band includes its upper edge, and the first band
            its lower one too. From 0 to 1.5, the sums add up to the mean square over pixels.
    """
    limits = torch.tensor(edges, dtype=torch.float64)
    if len(limits) < 2 or not bool((limits.diff() > 0).all()):
        raise ValueError(f'edges of bands must be at least two and rise, got {limits.tolist()}')
    frequency = radial_frequency(power.shape[-2:]).flatten()
    tolerance = 1e-9  # a bin on an edge belongs below it, whatever the rounding
    band = torch.bucketize(frequency - tolerance, limits)
    band[(frequency - limits[0]).abs() <= tolerance] = 1
    member = torch.stack([band == i for i in range(1, len(limits))], 1)
    return power.flatten(-2) @ member.to(power)


def radial_profile(power: Tensor) -> tuple[Tensor, Tensor]:
    """Mean power of the bins at each distance from the zero frequency, one ring per bin.

    Returns:
        Frequencies ``(n,)`` and means ``(..., n)``, n = half the shorter side of the image: from
        one period per that side up to Nyquist. The zero frequency is left out.
    """
    n = min(power.shape[-2:]) // 2
    ring = (radial_frequency(power.shape[-2:]) * n).round().long().flatten()
    member = torch.stack([ring == k for k in range(1, n + 1)], 1).to(power)
    return torch.arange(1, n + 1) / n, power.flatten(-2) @ member / member.sum(0)


def masked_errors(pictures: dict[str, Tensor], std: Tensor) -> dict[str, Tensor]:
    """Errors under the mask, zero in visible pixels, as images ``(B, C, H, W)``.

    Divided by ``std`` and the square root of the masked fraction, so that the power of an error is
    the mean squared error of a masked, normalized pixel.

    A mask cuts an error off at its blocks' borders, and so spreads it over neighboring frequencies
    (a block that is too bright is an error of all frequencies). Compare with the error of the mean
    color, which is cut in the same way.

    Args:
        pictures: From :meth:`MaskedImageModel.reconstruct`.
        std: ``(C, 1, 1)``, by which the data preprocessor divides.

    Returns:
        ``prediction``: of what the model predicts, from the image. ``prediction from target``: from
        what it was trained towards. ``target``: what even a perfect prediction would miss of the
        image. ``mean color``: of knowing nothing.
    """
    mask = pictures['mask'].double()
    scale = mask / std.double() / mask.mean((1, 2, 3), keepdim=True).clamp(min=1e-12).sqrt()

    def error(a: str, b: str) -> Tensor:
        return (pictures[a].double() - pictures[b].double()) * scale

    return {
        'prediction': error('prediction', 'original'),
        'prediction from target': error('prediction', 'target'),
        'target': error('target', 'original'),
        'mean color': error('masked', 'original'),
    }


def _hann(n: int) -> Tensor:
    # Sampled at pixel centers: no pixel gets weight zero.
    return torch.sin(torch.pi * (torch.arange(n, dtype=torch.float64) + 0.5) / n).square()
