from simmim_mm._renamed import old_names
from simmim_mm.masking.distance import avg_dist
from simmim_mm.masking.grid import (
    fit_mask,
    masked_fraction,
    patchify,
    replace_masked,
    unpatchify,
    upsample_mask,
    visible_ids,
    zero_masked_pixels,
)

__all__ = [
    'avg_dist',
    'fit_mask',
    'masked_fraction',
    'patchify',
    'replace_masked',
    'unpatchify',
    'upsample_mask',
    'visible_ids',
    'zero_masked_pixels',
]

__getattr__ = old_names(__name__)
