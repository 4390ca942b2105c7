import torch
from torch import Tensor

from simmim_mm.masking import masked_fraction, patchify, unpatchify
from simmim_mm.models.target_generators.base import TargetGenerator
from simmim_mm.registry import MODELS


@MODELS.register_module()
class NormPix(TargetGenerator):
    """Normalize each patch by its own mean and variance (MAE, section 4.1; ``norm_pix_loss``).

    Both are taken over all pixels and channels of the patch, the variance is the unbiased one.
    Computed in float32 also under autocast. For PixMIM it follows the low-pass filter.

    Args:
        patch_size: Side of the patches in pixels; height and width of the images are multiples.
        eps: Added to the variance.
        token_stride: Default of ``patch_size``.
        min_std: Standard deviations below this one, in normalized units, count as this one. The
            paper has none, so that patches that are flat but for noise become noise of full
            contrast, which nothing can predict. 0.05 is three gray levels of photographs.
    """

    value_range = 'normalized'

    def __init__(
        self,
        patch_size: int | None = None,
        eps: float = 1e-6,
        token_stride: int = 16,
        min_std: float = 0.0,
    ) -> None:
        super().__init__()
        self.patch_size = patch_size or token_stride
        self.eps = eps
        if min_std < 0:
            raise ValueError(f'min_std must be 0 or more, got {min_std}')
        self.min_std = min_std

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            patches = patchify(x.float(), self.patch_size)
            mean, std = self._stats(patches)
            return unpatchify((patches - mean) / std, self.patch_size)

    def invert(
        self, pred: Tensor, source: Tensor, mask: Tensor | None = None, stats: str = 'true'
    ) -> Tensor:
        """Put mean and contrast back.

        With ``stats='visible'``, patches that are masked in any part get the mean and the mean
        standard deviation of the image's patches that are not: their own would leak from under the
        mask. An image without a whole visible patch gets 0 and 1.
        """
        patches = patchify(pred.float(), self.patch_size)
        mean, std = self._stats(patchify(source.float(), self.patch_size))
        if stats == 'visible' and mask is not None:
            hidden = masked_fraction(mask, source.shape[-2:]) > 0
            hidden = patchify(hidden, self.patch_size).any(-1, keepdim=True)
            mean = torch.where(hidden, _visible_mean(mean, hidden, 0.0), mean)
            std = torch.where(hidden, _visible_mean(std, hidden, 1.0), std)
        return unpatchify(patches * std + mean, self.patch_size)

    def _stats(self, patches: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation ``(B, h, w, 1)`` of ``(B, h, w, p * p * C)``."""
        var, mean = torch.var_mean(patches, dim=-1, keepdim=True)
        return mean, (var + self.eps).sqrt().clamp(min=self.min_std)


def _visible_mean(x: Tensor, hidden: Tensor, default: float) -> Tensor:
    """Mean of ``(B, h, w, 1)`` over what is not hidden, ``(B, 1, 1, 1)``."""
    n = (~hidden).sum((1, 2), keepdim=True)
    total = x.masked_fill(hidden, 0.0).sum((1, 2), keepdim=True)
    return torch.where(n > 0, total / n.clamp(min=1), torch.full_like(total, default))
