"""A guess of where the objects of an image are, for images about which nothing is known."""

import cv2
import numpy as np

_SIDE = 64  # pixels that the image is reduced to: objects show at this scale, textures do not
_SIGMA = 4  # of the smoothing, in those pixels


def estimate_saliency(img: np.ndarray) -> np.ndarray:
    """Image signature (Hou, Harel and Koch, TPAMI 2012): what is sparse before a sparse spectrum.

    The signs of an image's cosine transform, transformed back, are large where the image departs
    from a smooth or regular background. The energies of the channels are added up and smoothed; the
    square root makes weaker objects show beside strong ones. (OpenCV's own saliency is not part of
    the builds that mmcv requires.)

    From ``(H, W, C)``, any number of channels and any value range, to ``(H, W)`` float32 from 0 to
    1; zeros for a constant image.
    """
    height, width = img.shape[:2]
    energy = np.zeros((_SIDE, _SIDE), np.float32)
    for channel in cv2.split(img):  # OpenCV's resize takes up to four at a time
        small = cv2.resize(channel, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
        small = small.astype(np.float32)
        contrast = small - small.mean()
        if np.ptp(contrast) > 1e-5 * np.abs(small).max():  # else there is nothing but rounding
            energy += cv2.idct(np.sign(cv2.dct(contrast))) ** 2
    saliency = np.sqrt(cv2.GaussianBlur(energy, (0, 0), _SIGMA))
    saliency -= saliency.min()
    saliency /= max(saliency.max(), 1e-12)
    return cv2.resize(saliency, (width, height), interpolation=cv2.INTER_LINEAR)
