import torch
from torch import Tensor

from simmim_mm.models.mask_fill.base import Fill
from simmim_mm.registry import MODELS


@MODELS.register_module()
class NoiseFill(Fill):
    """Independent noise in every masked value.

    In training it is drawn anew each time, from torch's generator of the images' device, which
    ``ReproducibilityHook`` seeds at every iteration. In evaluation it is the same field of noise
    for every image, batch and epoch, so that validation losses compare.

    Args:
        distribution: ``'gaussian'``: mean and standard deviation of the data preprocessor, standard
            normal after normalization; not clipped to the range of pixels. ``'uniform'``: between
            ``low`` and ``high``.
        low: In the value range of the loaded images.
        high: Likewise; 255 for 8-bit files.
        seed: Of the noise in evaluation.
    """

    def __init__(
        self,
        distribution: str = 'gaussian',
        low: float = 0.0,
        high: float = 255.0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if distribution not in ('gaussian', 'uniform'):
            raise ValueError(f"distribution must be 'gaussian' or 'uniform', got {distribution!r}")
        if low >= high:
            raise ValueError(f'low must be below high, got low={low}, high={high}')
        self.distribution = distribution
        self.low, self.high = low, high
        self.seed = seed

    def values(self, x: Tensor, hidden: Tensor) -> Tensor:
        draw = torch.randn if self.distribution == 'gaussian' else torch.rand
        if self.training:
            noise = draw(x.shape, dtype=x.dtype, device=x.device)
        else:  # on the CPU, whose generator gives the same numbers whatever the device
            generator = torch.Generator().manual_seed(self.seed)
            noise = draw(x.shape[1:], generator=generator, dtype=x.dtype).to(x.device)
        if self.distribution == 'gaussian':
            return noise
        return (self.low + (self.high - self.low) * noise - self.mean) / self.std
