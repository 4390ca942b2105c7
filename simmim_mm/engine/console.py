"""What of a training's log is shown, and what only its file holds."""

import logging
import time
from pathlib import Path

from mmengine.logging import MMLogger

PACKAGE = Path(__file__).parents[1]
_PROGRESS = ('mmengine', 'hooks', 'logger_hook.py')
_APART = 5.0  # seconds


class ConsoleFilter(logging.Filter):
    """Lets pass what this package says, the progress of the training, and errors.

    The environment, the config, the order of hooks and a line for every parameter are mmengine's,
    and stay in the file, as do warnings of other libraries. Of the progress, a line passes every
    few seconds; the results of validations always do.
    """

    def __init__(self, apart: float = _APART) -> None:
        super().__init__()
        self._apart, self._last = apart, float('-inf')

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a record is shown."""
        path = Path(record.pathname)
        if record.levelno >= logging.ERROR or path.is_relative_to(PACKAGE):
            return True
        if path.parts[-3:] != _PROGRESS or record.levelno != logging.INFO:
            return False
        text = record.getMessage()
        if text.startswith('Exp name'):
            return False
        if 'eta: ' in text:
            now = time.monotonic()
            if now - self._last < self._apart:
                return False
            self._last = now
        return True


def keep_console_short(logger: MMLogger) -> None:
    """Give the handlers that write to the console a :class:`ConsoleFilter`.

    Handlers of files stay as they are, and take what Python's ``warnings`` are asked to log.
    """
    captured = logging.getLogger('py.warnings')
    for handler in logger.handlers:
        if isinstance(handler, logging.FileHandler):
            captured.handlers[:] = [
                h for h in captured.handlers if not isinstance(h, logging.FileHandler)
            ]
            captured.addHandler(handler)
        elif isinstance(handler, logging.StreamHandler):
            handler.addFilter(ConsoleFilter())
