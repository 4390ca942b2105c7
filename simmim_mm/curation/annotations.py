"""Labels of the images of a folder."""

from pathlib import Path

from simmim_mm.datasets.readers.coco import load_coco
from simmim_mm.datasets.readers.coco_contents import check_contents
from simmim_mm.datasets.readers.coco_report import CocoReport


def inspect_coco(path: str | Path, folder: str | Path) -> CocoReport:
    """Look through a COCO json as a training does, and repair its contents in memory.

    Args:
        path: The json.
        folder: Where its file names start from.

    Returns:
        What was found. Masks are checked if an object has one.

    Raises:
        DataError: If the file is missing, or is not COCO's.
    """
    coco = load_coco(path, annotations=('image_id', 'category_id', 'bbox'))
    report = CocoReport(str(path), coco)
    has_masks = any(annotation.get('segmentation') for annotation in coco.annotations)
    advice = 'add them, or train on boxes alone' if has_masks else ''
    check_contents(report, str(folder), str(folder), masks=advice)
    return report
