from .grid import patchify, unpatchify, upsample_mask, visible_ids

__all__ = ['patchify', 'unpatchify', 'upsample_mask', 'visible_ids']
