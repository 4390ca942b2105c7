from mmcv.transforms import BaseTransform

from simmim_mm.datasets.errors import DataError
from simmim_mm.datasets.readers.segmentation_maps import Values, load_mapped, parse_value
from simmim_mm.registry import TRANSFORMS


@TRANSFORMS.register_module()
class LoadSegmentationMap(BaseTransform):
    """Load a segmentation map, and map its values or colors to classes; for segmenters.

    In the place of mmseg's ``LoadAnnotations``, which knows no values but 0 to 255: -100 becomes
    156, and 300 becomes 44. Palette images give their indices, three equal channels are one, EXIF
    orientation is applied, TIFF may hold any type, ``.npy`` is read.

    Without ``seg_map_path``, as in prediction, a sample passes as it is.

    Required keys: ``seg_map_path``, ``seg_fields``; optional: ``reduce_zero_label``, ``label_map``.
    Added keys: ``gt_seg_map``, ``(H, W)`` uint8.

    Args:
        values: The class of each value, such as ``{255: 1}``, or of each color, such as
            ``{'#000000': 0, '#ff0000': 1}``; 255 leaves pixels out. Values that are not mentioned
            stay.
        backend_args: For ``mmengine.fileio.get``.

    Raises:
        DataError: If a map cannot be read, or has a value beyond 0 to 255 after that.
    """

    def __init__(self, values: Values | None = None, backend_args: dict | None = None):
        self.values = dict(parse_value(item) for item in (values or {}).items())
        self.backend_args = backend_args

    def transform(self, results: dict) -> dict:
        if 'seg_map_path' not in results:
            return results
        found = load_mapped(results['seg_map_path'], self.values, self.backend_args)
        if found.min() < 0 or found.max() > 255:
            raise DataError(
                f'{results["seg_map_path"]} has the values {found.min()} to {found.max()}: map '
                'those beyond 0 to 255 with values'
            )
        if results.get('reduce_zero_label'):
            found = (found - 1) % 256
            found[found == 254] = 255
        label_map = results.get('label_map') or {}
        original = found.copy()
        for old, new in label_map.items():
            found[original == old] = new
        results['gt_seg_map'] = found.astype('uint8')
        results['seg_fields'].append('gt_seg_map')
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(values={self.values})'
