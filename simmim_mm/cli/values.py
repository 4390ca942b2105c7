"""Values of ``--cfg-options``: what was typed, as the setting's kind has it."""

import os
import re
from ast import literal_eval
from contextlib import suppress
from typing import Any

# Settings that hold a path, by their last word; and all those of data_prefix.
_PATH = re.compile(
    r'(^|[._])(root|file|filename|dir|path|folder|checkpoint|load_from)$|data_prefix\.'
)
_QUOTED = re.compile(r"""(['"])([^\[(].*)\1""", re.DOTALL)
_INNER_BLANK = re.compile(r'(?<=[^\s,\[\]()])(?: )+(?=[^\s,\[\]()])')


def parse_value(key: str, text: str) -> Any:
    """What ``key=text`` on the command line sets.

    As mmengine's ``DictAction``, which makes numbers, booleans, None, and lists of what has commas
    or brackets, but removes all blanks. Here:

    - The setting of a path takes the text as it is, blanks, commas and digits included. Only where
      nothing of that name exists and all parts between commas do, it is a list of paths.
    - So does any setting where the text has a blank or comma and is the name of a file or folder.
    - Text in quotes (which the shell has to leave: ``"key='a, b'"``) is a string.
    - Blanks within words stay.
    """
    if quoted := _QUOTED.fullmatch(text):
        return quoted[2]
    if text[:1] in ('[', '('):
        with suppress(ValueError, SyntaxError):
            value = literal_eval(text)
            if isinstance(value, (list, tuple)):
                return value
    elif text != 'None' and _PATH.search(key):
        path, parts = _path(text), [_path(part.strip()) for part in text.split(',')]
        several = len(parts) > 1 and not os.path.exists(path) and all(map(os.path.exists, parts))
        return parts if several else path
    elif re.search(r'[\s,]', text) and os.path.exists(_path(text)):
        return _path(text)
    from mmengine.config import DictAction

    return _with_blanks(DictAction._parse_iterable(_INNER_BLANK.sub('\0', text)))


def _path(text: str) -> str:
    """The path, with the home folder that the shell puts in only at the beginning of a word."""
    return os.path.expanduser(text)


def _with_blanks(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return type(value)(map(_with_blanks, value))
    return value.replace('\0', ' ') if isinstance(value, str) else value
