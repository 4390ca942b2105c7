"""What a scan has found so far, on disk, so that one that was ended goes on."""

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from simmim_mm.checkpoint.file_backend import named_failures
from simmim_mm.curation.inspection import Inspection
from simmim_mm.datasets.image_folder import time_of_change

_FLUSHED = 256  # entries that a kill may cost


class Journal:
    """A line for each inspected file; a first one says of which files and by which settings.

    A file that has changed since is not known.

    Args:
        path: Of the journal; one of other files or settings is begun anew.
        files: All that are to be inspected.
        settings: What else the results depend on.
    """

    def __init__(self, path: str | Path, files: Sequence[str], settings: Any) -> None:
        self.path, self.files = Path(path), files
        digest = hashlib.sha256(json.dumps(settings, default=str).encode())
        for file in files:
            digest.update(b'\0' + os.fsencode(file))
        self.header = digest.hexdigest() + '\n'

    def known(self) -> Iterator[tuple[int, Inspection]]:
        """Index of each file that was inspected, and what was found."""
        with suppress(FileNotFoundError), self.path.open(encoding='utf-8') as lines:
            if next(lines, '') != self.header:
                return
            for line in lines:
                try:
                    index, stamp, seen = json.loads(line)
                except ValueError:  # cut off by a kill; what a later call added follows
                    continue
                if stamp == time_of_change(self.files[int(index)]):
                    for name in ('content', 'pixels'):
                        seen[name] = bytes.fromhex(seen[name])
                    yield index, Inspection(**{**seen, 'looks': tuple(seen['looks'])})

    @contextmanager
    def writing(self, anew: bool) -> Iterator['Journal']:
        """Open it to :meth:`add` to."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self.path.open('w' if anew else 'a', encoding='utf-8')
        try:
            # behind what is perhaps half a line
            self._file.write(self.header if anew else '\n')
            self._added = 0
            yield self
        finally:
            with named_failures(self.path):
                self._file.close()

    def add(self, index: int, seen: Inspection) -> None:
        """Note what was found in a file."""
        entry = [index, time_of_change(self.files[index]), seen._asdict()]
        self._added += 1
        with named_failures(self.path):
            self._file.write(json.dumps(entry, default=bytes.hex) + '\n')
            if self._added % _FLUSHED == 0:
                self._file.flush()
