"""What is wrong in a COCO json: all of it is counted, and repaired where one answer is right."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from mmengine.logging import MMLogger

from simmim_mm.datasets.errors import DataError
from simmim_mm.datasets.readers.coco import CocoFile

# What happens to what was found.
REFUSED, LEFT_OUT, KEPT, REPAIRED = 'refused', 'left out', 'kept', 'repaired'


class Problem(NamedTuple):
    """One kind of fault.

    Attributes:
        outcome: What happens: ``REFUSED``, ``LEFT_OUT``, ``KEPT`` or ``REPAIRED``.
        count: How many have it.
        total: Of how many.
        what: Who has it, and what it is, such as ``'boxes have a negative width or height'``.
        example: Ids, files and a value.
        advice: What is done about it, or what to do.
        usual: Whether sound data have it too.
    """

    outcome: str
    count: int
    total: int
    what: str
    example: str
    advice: str
    usual: bool = False

    def __str__(self) -> str:
        return f'{self.count} of {self.total} {self.what} ({self.example}): {self.advice}'


class CocoReport:
    """Looks through a json, and repairs the entries in memory.

    Call the checks that the use of the file needs, then :meth:`conclude`.

    Args:
        path: Of the file, for messages.
        coco: Its contents, which are changed.
    """

    def __init__(self, path: str, coco: CocoFile):
        self.path = path
        self.coco = coco
        self.problems: list[Problem] = []
        if not coco.is_utf8:
            what = 'files are not in UTF-8, or begin with a byte order mark'
            self.add(REPAIRED, [path], 1, what, 'read as it is')
        for key, found in coco.matched.items():
            what = f'annotations have another type in {key} than the id that it names'
            self.add_annotations(REPAIRED, found, what, 'read as that id')

    @property
    def repaired(self) -> bool:
        """Whether the contents differ from the file."""
        return any(problem.outcome == REPAIRED for problem in self.problems)

    @property
    def refused(self) -> list[Problem]:
        """Those with which the file is not used."""
        return [problem for problem in self.problems if problem.outcome == REFUSED]

    def write(self, path: str | Path) -> None:
        """Write the contents as they are now."""
        coco = self.coco
        lists = dict(images=coco.images, annotations=coco.annotations, categories=coco.categories)
        Path(path).write_text(json.dumps(coco.others | lists))

    def conclude(self) -> None:
        """Log what was found, in a table if it is more than one thing.

        Raises:
            DataError: If something was refused.
        """
        refused = self.refused
        if len(self.problems) > len(refused) or len(refused) > 1:
            logger = MMLogger.get_current_instance()
            fine = all(p.outcome == REPAIRED or p.usual for p in self.problems)
            (logger.info if fine else logger.warning)(self.table())
        if refused:
            more = f' (and {len(refused) - 1} more, see above)' if len(refused) > 1 else ''
            raise DataError(f'{self.path}: {refused[0]}{more}')

    def table(self) -> str:
        """A line for a single problem; a heading and a line for each if there are several."""
        if len(self.problems) == 1:
            return f'{self.path}: {self.problems[0].outcome}: {self.problems[0]}'
        heads = '; '.join(f'{p.what} ({p.outcome})' for p in self.problems)
        rows = [('', 'number', 'what', 'such as', '')]
        for p in self.problems:
            rows.append((p.outcome, f'{p.count} of {p.total}', p.what, p.example, p.advice))
        widths = [max(map(len, column)) for column in zip(*rows)]
        lines = ['  '.join(map(str.ljust, row, widths)).rstrip() for row in rows]
        return '\n'.join([f'{self.path}: {heads}', *lines])

    def add(
        self,
        outcome: str,
        found: Sequence[Any],
        total: int,
        what: str,
        advice: str,
        usual: bool = False,
    ) -> None:
        """Note a problem, if any are ``found``; these are the examples."""
        if found:
            few = '; '.join(map(str, found[:3])) + ('; ...' if len(found) > 3 else '')
            self.problems.append(Problem(outcome, len(found), total, what, few, advice, usual))

    def add_annotations(
        self,
        outcome: str,
        found: Sequence[int] | np.ndarray,
        what: str,
        advice: str,
        key: str = '',
        usual: bool = False,
    ) -> None:
        """Note a problem of annotations, by their indices; ``key`` is the field to show."""
        if not len(found):
            return
        first = [self.coco.annotations[i] for i in found[:3]]
        ids = ', '.join(str(a.get('id', '?')) for a in first) + (', ...' if len(found) > 3 else '')
        files = {image['id']: image.get('file_name', '?') for image in self.coco.images}
        example = f'ids {ids}; in {files.get(first[0]["image_id"], "?")}'
        if key:
            value = repr(first[0].get(key))
            example += f' {value if len(value) <= 60 else value[:57] + "..."}'
        total = len(self.coco.annotations)
        self.problems.append(Problem(outcome, len(found), total, what, example, advice, usual))
