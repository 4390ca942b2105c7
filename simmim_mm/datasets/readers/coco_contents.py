"""What every use of a COCO json asks of it; each check builds on the ones before."""

from collections.abc import Callable

from simmim_mm.datasets.readers.coco import collector_paused
from simmim_mm.datasets.readers.coco_boxes import check_boxes
from simmim_mm.datasets.readers.coco_files import check_files
from simmim_mm.datasets.readers.coco_objects import check_crowds, check_masks, repair_fields
from simmim_mm.datasets.readers.coco_report import CocoReport


def check_contents(
    report: CocoReport,
    folder: str,
    root: str = '',
    load: Callable[[str], tuple[int, int]] | None = None,
    masks: str = '',
    trust: bool = False,
) -> None:
    """Look through images, boxes, masks and the other fields; repair what can be.

    Args:
        folder, root, load, trust: See :func:`check_files`.
        masks: What to do about objects without a mask; empty: masks are not looked at.
    """
    with collector_paused():
        check_files(report, folder, root, load, trust)
        check_boxes(report)
        if masks:
            check_masks(report, masks)
        check_crowds(report)
        repair_fields(report)
