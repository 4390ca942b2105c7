import torch
from torch import Tensor

from simmim_mm.masking import upsample_mask
from simmim_mm.models.pixel_stats import PixelStats


class Fill(PixelStats):
    """Puts something in the place of masked pixels, before the encoder sees the image.

    The alternative to a learned mask token, which replaces masked patch embeddings inside the
    encoder. It suits every encoder that takes images, also one that knows nothing of masks.

    Subclasses implement :meth:`values`.
    """

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Fill.

        Args:
            x: ``(B, C, H, W)`` normalized images.
            mask: ``(B, h, w)`` boolean, True = masked.

        Returns:
            ``(B, C, H, W)``: ``x`` where visible; what stood under the mask has no influence.
        """
        hidden = upsample_mask(mask, x.shape[-2:])
        return torch.where(hidden, self.values(x, hidden).to(x.dtype), x)

    def values(self, x: Tensor, hidden: Tensor) -> Tensor:
        """What to put under the mask, in normalized units, broadcastable to ``(B, C, H, W)``.

        Args:
            x: ``(B, C, H, W)`` normalized images.
            hidden: ``(B, 1, H, W)`` boolean; pixels of ``x`` where it is True must not be used.
        """
        raise NotImplementedError
