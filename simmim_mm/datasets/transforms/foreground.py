"""Where the objects of an image are: from stored maps, boxes, or a guess.

All of them write the key that the flips, crops and paddings of mmcv, and the crops of this package,
carry along with the image: ``gt_seg_map``, uint8 ``(H, W)``, 1 = foreground. Place them after the
loading of the image and before its crop. ``SemanticMask`` reads the map; ``PackInputs`` hands it to
the model as ``foreground``.
"""

from abc import ABCMeta, abstractmethod
from collections import defaultdict
from collections.abc import Sequence
from pathlib import PurePosixPath

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from mmpretrain.datasets import transforms as mmpretrain_transforms

from simmim_mm.datasets.errors import UnreadableImage
from simmim_mm.datasets.readers.coco import load_coco
from simmim_mm.datasets.readers.coco_boxes import check_boxes
from simmim_mm.datasets.readers.coco_objects import check_masks, decode_segmentation
from simmim_mm.datasets.readers.coco_report import CocoReport
from simmim_mm.datasets.readers.segmentation_maps import load_segmentation_map
from simmim_mm.datasets.saliency import estimate_saliency
from simmim_mm.datasets.transforms.nodata import only_foreground, with_foreground
from simmim_mm.registry import TRANSFORMS


class ForegroundTransform(BaseTransform, metaclass=ABCMeta):
    """Base of the sources of foreground maps; a subclass implements :meth:`foreground`.

    Required keys: ``img`` ``(H, W, C)``, ``img_path``. Added keys: ``gt_seg_map``, uint8 ``(H, W)``
    of 0 and 1.

    Raises:
        UnreadableImage: If there is no map for an image or it does not fit; ``ImageDataset`` counts
            it among the bad files.
    """

    @abstractmethod
    def foreground(self, results: dict) -> np.ndarray:
        """Bool ``(H, W)``, True where there is an object. May raise ValueError or OSError."""

    def transform(self, results: dict) -> dict:
        try:
            foreground = self.foreground(results)
        except (ValueError, OSError) as error:
            raise UnreadableImage(results['img_path'], f'no foreground map: {error}') from error
        results['gt_seg_map'] = with_foreground(results, foreground)
        return results

    def __repr__(self) -> str:
        args = ', '.join(f'{k}={v!r}' for k, v in vars(self).items() if not k.startswith('_'))
        return f'{type(self).__name__}({args})'


@TRANSFORMS.register_module()
class LoadForeground(ForegroundTransform):
    """Foreground from a segmentation map or saliency map that is stored beside the image.

    The path of the map is that of the image with another suffix and, if ``folders`` is given, one
    folder of another name: with ``folders=('images', 'labels')`` the map of
    ``/data/images/train/a.jpg`` is ``/data/labels/train/a.png``. The map has the size of the image
    and one channel; palette images give their indices.

    Args:
        folders: Name of a folder in the path (the last one of that name) and what replaces it.
            ``None``: the map lies in the folder of the image; then keep it from being taken for an
            image, by ``ImageDataset(exclude='*_mask.png')`` for instance.
        suffix: Replaces the image's suffix, such as ``'.png'`` or ``'_mask.png'``.
        labels: Values that are foreground. ``None``: all but 0 and 255, which mean background and
            undecided in most sets.
        threshold: Makes it a saliency map: foreground is where its value exceeds this number, or
            Otsu's threshold of that map with ``'otsu'`` (8 bits only).
        backend_args: For ``mmengine.fileio.get``.
    """

    def __init__(
        self,
        folders: Sequence[str] | None = None,
        suffix: str = '.png',
        labels: Sequence[int] | None = None,
        threshold: float | str | None = None,
        backend_args: dict | None = None,
    ):
        if folders is not None and (isinstance(folders, str) or len(folders) != 2):
            raise ValueError(
                f"folders must be two names such as ('images', 'labels'), got {folders!r}"
            )
        if isinstance(threshold, str) and threshold != 'otsu':
            raise ValueError(f"threshold must be a number or 'otsu', got {threshold!r}")
        if labels is not None and threshold is not None:
            raise ValueError(
                'give labels for a segmentation map or threshold for a saliency map, not both'
            )
        self.folders, self.suffix = folders, suffix
        self.labels, self.threshold = labels, threshold
        self.backend_args = backend_args

    def map_path(self, img_path: str) -> str:
        """Where the map of an image lies; ValueError if its path has no folder of that name."""
        folder, _, name = img_path.rpartition('/')
        if self.folders is not None:
            parts = folder.split('/')
            old, new = self.folders
            if old not in parts:
                raise ValueError(f'no folder {old!r} in its path, for folders={self.folders}')
            parts[len(parts) - 1 - parts[::-1].index(old)] = new
            folder = '/'.join(parts)
        name = PurePosixPath(name).stem + self.suffix
        return f'{folder}/{name}' if folder else name

    def foreground(self, results: dict) -> np.ndarray:
        path = self.map_path(results['img_path'])
        values = load_segmentation_map(path, self.backend_args, gray=self.threshold is not None)
        if values.shape != results['img'].shape[:2]:
            (h, w), (height, width) = values.shape, results['img'].shape[:2]
            raise ValueError(f'{path} is {h} x {w}; it has to be {height} x {width}')
        if self.threshold == 'otsu':
            if values.dtype != np.uint8:
                raise ValueError(f"{path} is {values.dtype}; threshold='otsu' takes 8 bits")
            return otsu(values)
        if self.threshold is not None:
            return values > self.threshold
        if self.labels is not None:
            return np.isin(values, self.labels)
        return (values != 0) & (values != 255)


@TRANSFORMS.register_module()
class BoxForeground(ForegroundTransform):
    """Foreground from the boxes, or the masks, of a COCO json file.

    An image belongs to the entry whose ``file_name`` is the end of its path. Images with an entry
    but without objects are all background.

    Args:
        ann_file: A json file with ``images`` and ``annotations``.
        use_masks: Take each object's ``segmentation`` instead of its box; needs pycocotools.
    """

    def __init__(self, ann_file: str, use_masks: bool = False):
        self.ann_file, self.use_masks = ann_file, use_masks
        key = 'segmentation' if use_masks else 'bbox'
        coco = load_coco(ann_file, annotations=('image_id', key), categories=(), strict=False)
        report = CocoReport(ann_file, coco)
        if use_masks:
            check_masks(report, 'add them, or take the boxes (use_masks=False)')
        else:
            check_boxes(report)
        report.conclude()
        shapes = defaultdict(list)
        for annotation in coco.annotations:
            shapes[annotation['image_id']].append(annotation[key])
        self._images = {
            image['file_name']: (image.get('height'), image.get('width'), shapes[image['id']])
            for image in coco.images
        }

    def foreground(self, results: dict) -> np.ndarray:
        height, width = results['img'].shape[:2]
        *size, shapes = self._find(results['img_path'])
        if None not in size and size != [height, width]:
            raise ValueError(
                f'{self.ann_file} has it as {size[0]} x {size[1]}, it is {height} x {width}'
            )
        foreground = np.zeros((height, width), bool)
        for shape in shapes:
            if self.use_masks:
                foreground |= decode_segmentation(shape, height, width)
            else:
                x, y, w, h = shape
                left, top = max(round(x), 0), max(round(y), 0)
                foreground[top : max(round(y + h), 0), left : max(round(x + w), 0)] = True
        return foreground

    def _find(self, img_path: str) -> tuple:
        parts = img_path.split('/')
        for i in range(len(parts)):
            entry = self._images.get('/'.join(parts[i:]))
            if entry is not None:
                return entry
        example = next(iter(self._images), None)
        raise ValueError(f'no entry in {self.ann_file}, whose names are like {example!r}')


@TRANSFORMS.register_module()
class SaliencyForeground(ForegroundTransform):
    """Foreground from an estimate, where nothing is known: what differs from its surroundings.

    It is a guess, better than chance on photographs of objects and of no use on textures: look at
    it with ``simmim mask-samples``. 0.2 ms at 192 pixels, 1 ms on a photograph.

    Args:
        threshold: Foreground is where the estimate, 0 to 1, exceeds this number; Otsu's threshold
            of each image with ``'otsu'``.
    """

    def __init__(self, threshold: float | str = 'otsu'):
        if threshold != 'otsu' and not (isinstance(threshold, float) and 0 < threshold < 1):
            raise ValueError(f"threshold must be 'otsu' or between 0 and 1, got {threshold!r}")
        self.threshold = threshold

    def foreground(self, results: dict) -> np.ndarray:
        saliency = estimate_saliency(results['img'])
        if self.threshold == 'otsu':
            return otsu((saliency * 255).round().astype(np.uint8))
        return saliency > self.threshold


@TRANSFORMS.register_module()
class PackInputs(mmpretrain_transforms.PackInputs):
    """mmpretrain's, which also packs the foreground map.

    With ``'foreground'`` among ``algorithm_keys`` the data sample gets ``foreground``: the map
    ``gt_seg_map``, uint8 ``(H, W)`` of 0 and 1, as the crops and flips before have left it.
    """

    def transform(self, results: dict) -> dict:
        if 'foreground' in self.algorithm_keys:
            # a flipped map is a view that no tensor can be made of
            results['foreground'] = np.ascontiguousarray(foreground_of(results))
        return super().transform(results)


def foreground_of(results: dict) -> np.ndarray:
    """The foreground map ``(H, W)`` in the results; ValueError if there is none of that size."""
    foreground, size = results.get('gt_seg_map'), results['img'].shape[:2]
    if foreground is None:
        raise ValueError(
            'no foreground map (gt_seg_map): add LoadForeground, BoxForeground or '
            'SaliencyForeground to the pipeline, after the loading of the image'
        )
    if foreground.shape != size:
        raise ValueError(
            f'the foreground map has {foreground.shape} pixels and the image {size}: a transform '
            'crops or resizes the image alone; use those of simmim_mm and mmcv, which take '
            'gt_seg_map along'
        )
    return only_foreground(results, foreground)


def otsu(values: np.ndarray) -> np.ndarray:
    """True where uint8 values exceed Otsu's threshold; nowhere in a constant image."""
    return cv2.threshold(values, 0, 1, cv2.THRESH_BINARY | cv2.THRESH_OTSU)[1].astype(bool)
