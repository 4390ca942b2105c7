"""Where an image has no data, carried through its crops and flips, and kept out of its mask.

mmcv's transforms move the map ``gt_seg_map`` with the image, and know no other. So the highest bit
of that map stands for no data; foreground maps use the lowest.
"""

import numpy as np

_BIT = np.uint8(128)


def add_nodata(results: dict, nodata: np.ndarray) -> None:
    """Note which pixels hold no data, bool ``(H, W)``, in the results of a pipeline."""
    results['gt_seg_map'] = nodata.astype(np.uint8) * _BIT
    results['with_nodata'] = True


def nodata_of(results: dict) -> np.ndarray | None:
    """Bool ``(H, W)``, True where the image has no data; None if none were declared.

    Raises:
        ValueError: If the map is not of the image's size.
    """
    if not results.get('with_nodata'):
        return None
    values, size = results['gt_seg_map'], results['img'].shape[:2]
    if values.shape != size:
        raise ValueError(
            f'the map of no-data has {values.shape} pixels and the image {size}: a transform crops '
            'or resizes the image alone; use those of simmim_mm and mmcv, which take it along'
        )
    return np.ascontiguousarray(values & _BIT > 0)


def with_foreground(results: dict, foreground: np.ndarray) -> np.ndarray:
    """A foreground map, uint8 ``(H, W)`` of 0 and 1, with the no-data of the results, if any."""
    foreground = np.ascontiguousarray(foreground, np.uint8)
    nodata = nodata_of(results)
    return foreground if nodata is None else foreground | nodata * _BIT


def only_foreground(results: dict, values: np.ndarray) -> np.ndarray:
    """The inverse of :func:`with_foreground`."""
    return values & ~_BIT if results.get('with_nodata') else values


def spare_nodata(mask: np.ndarray, empty: np.ndarray) -> np.ndarray:
    """Give the blocks with data the masked fraction that all blocks have.

    Masked blocks without data are wasted, and those that they take from the others make the task
    easier. So blocks are exchanged at random between the two kinds until both have the fraction;
    the number of masked blocks stays, as encoders that see visible blocks only need it.

    Args:
        mask: Bool ``(rows, columns)``, True = masked.
        empty: Bool ``(rows, columns)``, True where a block holds nothing but no-data.
    """
    mask, empty = mask.copy(), empty.ravel()
    flat = mask.reshape(-1)
    wanted = round(flat.mean() * np.count_nonzero(~empty))
    lacking = wanted - np.count_nonzero(flat & ~empty)
    to_mask, to_show = (~empty, empty) if lacking > 0 else (empty, ~empty)
    number = abs(lacking)
    flat[np.random.permutation(np.flatnonzero(to_show & flat))[:number]] = False
    flat[np.random.permutation(np.flatnonzero(to_mask & ~flat))[:number]] = True
    return mask
