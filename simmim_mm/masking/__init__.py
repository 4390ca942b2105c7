from simmim_mm._renamed import old_names
from simmim_mm.masking.distance import avg_dist
from simmim_mm.masking.grid import masked_fraction, patchify, unpatchify, upsample_mask, visible_ids

__all__ = ['avg_dist', 'masked_fraction', 'patchify', 'unpatchify', 'upsample_mask', 'visible_ids']

__getattr__ = old_names(__name__, mask_share='masked_fraction')
