from .distance import avg_dist
from .grid import mask_share, patchify, unpatchify, upsample_mask, visible_ids

__all__ = ['avg_dist', 'mask_share', 'patchify', 'unpatchify', 'upsample_mask', 'visible_ids']
