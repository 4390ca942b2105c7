from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from simmim_mm._renamed import renamed_arguments
from simmim_mm.models.target_generators.base import TargetGenerator
from simmim_mm.registry import MODELS


def low_pass_gain(
    size: Sequence[int],
    radius: float | None = None,
    radius_ratio: float | None = None,
    half_bin_off: bool = False,
    rolloff: str = 'ideal',
    order: int = 2,
) -> Tensor:
    """Gain of a low-pass filter, ``(H, W)`` float64 in [0, 1], zero frequency first.

    Args:
        size: ``(H, W)`` of the image.
        radius: Cut-off in bins of this image's spectrum (a circle in bins, as in the PixMIM code).
        radius_ratio: Instead of ``radius``: cut-off as a fraction of the Nyquist frequency, 0.5
            cycles per pixel, on both axes. A circle in cycles per pixel, hence an ellipse in bins
            where height and width differ. ``radius=40`` at 224 pixels is 40 / 112.
        half_bin_off: Center the filter between bins -1 and 0 on axes of even length, where
            ``(n - 1) / 2`` falls on a shifted spectrum, instead of on the zero frequency.
        rolloff: ``'ideal'``: 1 up to the radius, 0 beyond. ``'gaussian'`` and ``'butterworth'``
            fall smoothly from 1 at the center through 1/sqrt(2), half the power, at the radius.
        order: Steepness of the Butterworth filter.

    Raises:
        ValueError: If the filter would remove the mean of the image.
    """
    axes = []  # squared distances in units of the radius
    for n in size:
        k = torch.fft.fftfreq(n, 1 / n, dtype=torch.float64)
        if half_bin_off and n % 2 == 0:
            k = k + 0.5
        axes.append((k / (radius or (radius_ratio or 0) * n / 2)).square())
    distance = axes[0][:, None] + axes[1]

    if rolloff == 'ideal':
        # The tolerance keeps bins that lie on the circle, whatever unit it was given in.
        gain = (distance <= 1 + 1e-9).double()
    elif rolloff == 'gaussian':
        gain = torch.exp2(-distance / 2)
    else:
        gain = (1 + distance**order).rsqrt()
    if gain[0, 0] == 0:
        raise ValueError(
            f'a low-pass filter of radius={radius}, radius_ratio={radius_ratio} keeps nothing of '
            f'an image of {size[0]}x{size[1]} pixels, not even its mean: raise the radius'
        )
    return gain


@MODELS.register_module()
@renamed_arguments(values={'mode': {'centred': 'centered'}})  # codespell:ignore
class LowFreq(TargetGenerator):
    """Targets without high frequencies (PixMIM, arXiv 2303.02416).

    Put it before a per-patch normalization, as PixMIM does. It works on the images as they were
    before normalization, with the data preprocessor's mean and std, and normalizes again.

    Computed in float32 also under autocast, with real FFTs of the columns that the filter keeps,
    and without gradient: a target is a constant.

    Args:
        radius: See :func:`low_pass_gain`; PixMIM: 40 for 224 x 224 pixels.
        radius_ratio: Instead of ``radius``, the same for every image size; PixMIM: 40 / 112.
        mode: ``'reference'`` reproduces the PixMIM code: its disc sits half a bin off the zero
            frequency on axes of even length, so that the filtered image is complex, and the target
            is its absolute value. ``'centered'`` is the exact filter with a real result, which may
            ring slightly below black.
        rolloff: ``'ideal'`` (PixMIM); with ``mode='centered'`` also ``'gaussian'`` and
            ``'butterworth'``.
        order: Of the Butterworth filter.
    """

    requires_pixels = True

    def __init__(
        self,
        radius: float | None = None,
        radius_ratio: float | None = None,
        mode: str = 'reference',
        rolloff: str = 'ideal',
        order: int = 2,
    ) -> None:
        super().__init__()
        if (radius is None) == (radius_ratio is None):
            raise ValueError(
                'give either radius (in bins) or radius_ratio (fraction of the Nyquist frequency), '
                f'got radius={radius}, radius_ratio={radius_ratio}'
            )
        if min(r for r in (radius, radius_ratio, order) if r is not None) <= 0:
            raise ValueError(
                'radius, radius_ratio and order must be positive, got '
                f'radius={radius}, radius_ratio={radius_ratio}, order={order}'
            )
        if mode not in ('reference', 'centered'):
            raise ValueError(f"mode must be 'reference' or 'centered', got {mode!r}")
        if rolloff not in ('ideal', 'gaussian', 'butterworth'):
            raise ValueError(f"rolloff is 'ideal', 'gaussian' or 'butterworth', got {rolloff!r}")
        if mode == 'reference' and rolloff != 'ideal':
            raise ValueError(
                f"mode='reference' is PixMIM's ideal disc: set mode='centered' for {rolloff!r}"
            )
        self.mode = mode
        self.filter_args: dict[str, Any] = dict(
            radius=radius, radius_ratio=radius_ratio, rolloff=rolloff, order=order
        )
        self._gains: dict[tuple, tuple[Tensor, Tensor | None]] = {}

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, H, W)`` normalized images of any dtype to float32 (float64 stays) targets."""
        x = x if x.dtype == torch.float64 else x.float()
        with torch.autocast(x.device.type, enabled=False):
            # A few images at a time: they stay in the processor's cache (1.4 times faster).
            return torch.cat([self._filter(images) for images in x.split(8)])

    def _filter(self, x: Tensor) -> Tensor:
        even, odd = self._gain_of(x)
        # of the columns that the filter keeps; those of negative frequency follow by symmetry
        spectrum = torch.fft.fft(torch.fft.rfft(x)[..., : even.shape[-1]], dim=-2)
        real = self._inverse(spectrum * even, x.shape[-1])
        if self.mode == 'centered':
            return real  # a constant passes, so the mean need not be added and removed
        # |std * (real + i * imag) + mean|, normalized again: mean and std enter as their ratio.
        offset = self.mean.to(x) / self.std.to(x)
        real += offset
        if odd is None:
            return real.abs_().sub_(offset)
        imag = self._inverse(spectrum * odd, x.shape[-1])
        return real.hypot_(imag).sub_(offset)

    @staticmethod
    def _inverse(spectrum: Tensor, width: int) -> Tensor:
        return torch.fft.irfft(torch.fft.ifft(spectrum, dim=-2), n=width)

    def _gain_of(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """The filter as two, with a real image each: ``filtered = even + i * odd``.

        A disc that is not symmetric about the zero frequency makes a complex image of a real one.
        The part of its gain that is even in the frequency gives the real part, the odd part times
        -i the imaginary part, and each of them is one inverse *real* FFT.
        """
        key = (*x.shape[-2:], x.device, x.dtype)
        if key not in self._gains:
            off, half = self.mode == 'reference', x.shape[-1] // 2 + 1  # columns of a real FFT
            gain = low_pass_gain(x.shape[-2:], half_bin_off=off, **self.filter_args)
            mirrored = gain.flip(0, 1).roll((1, 1), (0, 1))  # at the negative frequency
            even, odd = (gain + mirrored) / 2, (gain - mirrored) / 2
            columns = int(even[:, :half].any(0).nonzero().max()) + 1
            even, odd = even[:, :columns].to(x.dtype), -1j * odd[:, :columns].to(x.dtype)
            self._gains[key] = even.to(x.device), odd.to(x.device) if odd.any() else None
        return self._gains[key]

    def extra_repr(self) -> str:
        args = ', '.join(f'{k}={v}' for k, v in self.filter_args.items() if v is not None)
        return f'mode={self.mode}, {args}'
