from collections.abc import Sequence
from typing import Optional

from torch import Tensor, nn

from simmim_mm.models.pixel_stats import PixelStats


class TargetGenerator(PixelStats):
    """Turns normalised images into what the decoder has to predict.

    Subclasses implement :meth:`forward` and, where the result is not an image that can be shown as
    it is, :meth:`invert`. They hold no parameters: a target is a fixed function of the image.

    Attributes:
        takes_pixels: It needs pixels as the data preprocessor normalised them, and must not follow
            a generator that gives something else.
        gives: What its values are: ``'normalised'`` (by statistics of the image's own), ``'unit'``
            (in [0, 1]), ``'features'`` (not an image); None: what it was given.
        drawable: A prediction can be brought back to pixels, by :meth:`invert`.
    """

    takes_pixels = False
    gives: Optional[str] = None
    drawable = True

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, H, W)`` normalised images to a target, of the same shape unless said."""
        raise NotImplementedError

    def out_channels(self, channels: int) -> int:
        """Channels of the target of an image with ``channels``."""
        return channels

    def invert(
        self, pred: Tensor, source: Tensor, mask: Optional[Tensor] = None, stats: str = 'true'
    ) -> Tensor:
        """Bring a prediction of this target back to normalised pixels, for looking at it.

        Args:
            pred: A prediction of ``forward(source)``, of its shape.
            source: ``(B, C, H, W)``, what this generator was given.
            mask: ``(B, h, w)``, True = masked.
            stats: Where statistics that the target removed come from: ``'true'``, the whole image;
                ``'visible'``, its visible part only (an honest picture: nothing leaks from under
                the mask).
        """
        return pred


class TargetSequence(nn.ModuleList):
    """Target generators applied one after the other; none = the pixels as normalised.

    PixMIM (arXiv 2303.02416) is such a sequence: a low-pass filter, then the method's own
    normalisation.

    Attributes:
        gives: What the values of the target are: ``'pixels'``, or as of
            :attr:`TargetGenerator.gives`.

    Raises:
        ValueError: If a generator needs pixels and follows one that gives something else.
    """

    def __init__(self, generators: Sequence[TargetGenerator] = ()) -> None:
        super().__init__(generators)
        self.gives = 'pixels'
        for i, generator in enumerate(self):
            if generator.takes_pixels and self.gives != 'pixels':
                before = [type(g).__name__ for g in self[:i]]
                raise ValueError(
                    f'{type(generator).__name__} needs pixels, but after {", ".join(before)} the '
                    f'target is {self.gives!r}: put {type(generator).__name__} before'
                )
            self.gives = generator.gives or self.gives

    @property
    def drawable(self) -> bool:
        """A prediction can be brought back to pixels."""
        return all(generator.drawable for generator in self)

    def out_channels(self, channels: int) -> int:
        """Channels of the target of an image with ``channels``."""
        for generator in self:
            channels = generator.out_channels(channels)
        return channels

    def forward(self, x: Tensor) -> Tensor:
        for generator in self:
            x = generator(x)
        return x

    def invert(
        self, pred: Tensor, x: Tensor, mask: Optional[Tensor] = None, stats: str = 'true'
    ) -> Tensor:
        """Undo the generators on ``pred``, last first; ``x`` are the normalised images."""
        sources = [x]
        for generator in self:
            sources.append(generator(sources[-1]))
        for generator, source in zip(reversed(self), reversed(sources[:-1])):
            pred = generator.invert(pred, source, mask, stats)
        return pred
