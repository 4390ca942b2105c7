import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from simmim_mm._renamed import renamed_attributes
from simmim_mm.models.data_preprocessor import PixelStats


@renamed_attributes(
    values={'normalised': 'normalized'},  # codespell:ignore
    gives='value_range',
    takes_pixels='requires_pixels',
    drawable='invertible',
)
class TargetGenerator(PixelStats):
    """Turns normalized images into what the decoder has to predict.

    Subclasses implement :meth:`forward` and, where the result is not an image that can be shown as
    it is, :meth:`invert`. They hold no parameters: a target is a fixed function of the image.

    An argument ``token_stride`` of ``__init__`` that the config leaves out is that of the backbone,
    where the decoder predicts token by token (ViT, MAE, ConvMAE).

    Attributes:
        requires_pixels: It needs pixels as the data preprocessor normalized them, and must not
            follow a generator whose values are something else.
        value_range: What its values are: ``'normalized'`` (by statistics of the image itself),
            ``'unit'`` (in [0, 1]), ``'features'`` (not an image); None: what it was given.
        invertible: A prediction can be brought back to pixels, by :meth:`invert`.
        stride: Pixels per position of the target.
    """

    requires_pixels = False
    value_range: str | None = None
    invertible = True
    stride = 1

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, H, W)`` normalized images to a target, of the same shape unless said."""
        raise NotImplementedError

    def out_channels(self, channels: int) -> int:
        """Channels of the target of an image with ``channels``."""
        return channels

    def invert(
        self, pred: Tensor, source: Tensor, mask: Tensor | None = None, stats: str = 'true'
    ) -> Tensor:
        """Bring a prediction of this target back to normalized pixels, for looking at it.

        Args:
            pred: A prediction of ``forward(source)``, of its shape.
            source: ``(B, C, H, W)``, what this generator was given.
            mask: ``(B, h, w)``, True = masked.
            stats: Where statistics that the target removed come from: ``'true'``, the whole image;
                ``'visible'``, its visible part only (an honest reconstruction: nothing leaks from
                under the mask).
        """
        return pred


@renamed_attributes(gives='value_range', drawable='invertible')
class TargetSequence(nn.ModuleList):
    """Target generators applied one after the other; none = the pixels as normalized.

    PixMIM (arXiv 2303.02416) is such a sequence: a low-pass filter, then the method's own
    normalization.

    Attributes:
        value_range: ``'pixels'``, or see :attr:`TargetGenerator.value_range`.
        stride: Pixels per position of the target.

    Raises:
        ValueError: If a generator needs pixels and follows one whose values are something else.
    """

    def __init__(self, generators: Sequence[TargetGenerator] = ()) -> None:
        super().__init__(generators)
        self.value_range = 'pixels'
        self.stride = math.prod(generator.stride for generator in generators)
        for i, generator in enumerate(self):
            if generator.requires_pixels and self.value_range != 'pixels':
                before = [type(g).__name__ for g in self[:i]]
                raise ValueError(
                    f'{type(generator).__name__} needs pixels, but after {", ".join(before)} the '
                    f'target is {self.value_range!r}: put {type(generator).__name__} before'
                )
            self.value_range = generator.value_range or self.value_range

    if TYPE_CHECKING:

        def __iter__(self) -> Iterator[TargetGenerator]: ...

    @property
    def invertible(self) -> bool:
        """A prediction can be brought back to pixels."""
        return all(generator.invertible for generator in self)

    def out_channels(self, channels: int) -> int:
        """Channels of the target of an image with ``channels``."""
        for generator in self:
            channels = generator.out_channels(channels)
        return channels

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, H, W)`` normalized images to the target, a constant."""
        for generator in self:
            x = generator(x)
        return x

    def invert(
        self, pred: Tensor, x: Tensor, mask: Tensor | None = None, stats: str = 'true'
    ) -> Tensor:
        """Undo the generators on ``pred``, last first; ``x`` are the normalized images."""
        sources = [x]
        for generator in self:
            sources.append(generator(sources[-1]))
        for generator, source in zip(reversed(list(self)), reversed(sources[:-1])):
            pred = generator.invert(pred, source, mask, stats)
        return pred
