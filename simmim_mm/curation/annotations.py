"""Labels of the images of a folder."""

from pathlib import Path

from simmim_mm.datasets.readers.coco import load_coco
from simmim_mm.datasets.readers.coco_boxes import check_boxes
from simmim_mm.datasets.readers.coco_files import check_files
from simmim_mm.datasets.readers.coco_objects import check_crowds, check_masks, repair_fields
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
    check_files(report, str(folder), str(folder))
    check_boxes(report)
    if any(annotation.get('segmentation') for annotation in coco.annotations):
        check_masks(report, 'add them, or train on boxes alone')
    check_crowds(report)
    repair_fields(report)
    return report
