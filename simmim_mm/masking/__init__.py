from .grid import mask_share, patchify, unpatchify, upsample_mask, visible_ids

__all__ = ['mask_share', 'patchify', 'unpatchify', 'upsample_mask', 'visible_ids']
