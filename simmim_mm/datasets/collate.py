from collections.abc import Sequence

from mmengine.dataset import default_collate, pseudo_collate

from simmim_mm.registry import FUNCTIONS


@FUNCTIONS.register_module()
def stack_images(samples: Sequence[dict]) -> dict:
    """Collate samples, with the images in one tensor, which a worker hands over as one piece.

    Images apart, as by mmengine's ``pseudo_collate``, are a piece of shared memory each, and are
    stacked where the model trains.

    Args:
        samples: With ``inputs``, ``(C, H, W)``, and whatever else.

    Returns:
        ``inputs`` ``(B, C, H, W)``, the rest as lists. Where images differ in shape they stay a
        list, of which the data preprocessor says what is wrong.
    """
    batch = pseudo_collate(samples)
    if len({image.shape for image in batch['inputs']}) == 1:
        batch['inputs'] = default_collate(batch['inputs'])
    return batch
