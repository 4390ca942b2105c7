"""What is wrong in a COCO json: all of it is counted, and repaired where one answer is right."""

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from mmengine.logging import MMLogger

from simmim_mm.checkpoint.file_backend import AtomicLocalBackend
from simmim_mm.datasets.errors import DataError
from simmim_mm.datasets.readers.coco import CocoFile

# What happens to what was found.
REFUSED, LEFT_OUT, KEPT, REPAIRED = 'refused', 'left out', 'kept', 'repaired in memory'

_LONG = 60  # characters of an example


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
        done = f'{REPAIRED} (the file stays as it is): ' if self.outcome == REPAIRED else ''
        return f'{self.count} of {self.total} {self.what} ({self.example}): {done}{self.advice}'


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
            what = f'annotations have text in {key} where the ids are numbers, or the reverse'
            self.add_annotations(REPAIRED, found, what, 'read as the id that is written the same')

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
        AtomicLocalBackend().put_text(json.dumps(coco.others | lists), path)

    def conclude(self) -> None:
        """Raise what was refused, or log the rest.

        Raises:
            DataError: If something was refused: all of it, and nothing else.
        """
        self.refuse()
        self.log()

    def refuse(self) -> None:
        """Raise a DataError if something was refused: a line for each kind."""
        if self.refused:
            raise DataError(f'{self.path}: ' + '\nAlso: '.join(map(str, self.refused)))

    def log(self) -> None:
        """Log what was found, each kind in a line that can be read alone."""
        logger = MMLogger.get_current_instance()
        for problem in self.problems:
            fine = problem.outcome == REPAIRED or problem.usual
            logger.log(logging.INFO if fine else logging.WARNING, f'{self.path}: {problem}')

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
            shown = found[:3] if len(str(found[0])) <= _LONG else found[:1]
            few = '; '.join(map(str, shown)) + ('; ...' if len(found) > len(shown) else '')
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
        first = self.coco.annotations[found[0]]
        names = [f'annotations[{i}]' for i in found[:3]]
        if all('id' in self.coco.annotations[i] for i in found[:3]):
            names = [str(self.coco.annotations[i]['id']) for i in found[:3]]
            names[0] = f'annotation ids {names[0]}'
        few = ', '.join(names) + (', ...' if len(found) > 3 else '')
        files = {image['id']: image.get('file_name', '?') for image in self.coco.images}
        file = files.get(first['image_id'], 'no image of the file')
        example = f'{few}; the first in {file}'
        if key:
            value = repr(first[key]) if key in first else 'missing'
            shown = value if len(value) <= _LONG else value[:_LONG] + '...'
            example += f' with {key} {shown}'
        total = len(self.coco.annotations)
        self.problems.append(Problem(outcome, len(found), total, what, example, advice, usual))
