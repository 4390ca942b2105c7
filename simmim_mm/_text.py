"""What messages are put together of."""

from collections.abc import Iterable
from typing import Any

from simmim_mm._renamed import renamed_arguments

EVERYWHERE = 'in all pipelines (train, val, test)'  # where a setting is to be written


def one_line(error: BaseException, most: int = 200) -> str:
    """What an error says, in one line; its class, if it says nothing."""
    return ' '.join(str(error).split())[:most] or type(error).__name__


def config_line(name: str, **settings: Any) -> str:
    """A type of this package with its settings, as one writes it into a config of any scope."""
    values = dict(type=f'simmim_mm.{name}', **settings)
    return f'dict({", ".join(f"{key}={value!r}" for key, value in values.items())})'


@renamed_arguments(limit='most')
def first_few(values: Iterable, most: int = 5, total: bool = True) -> str:
    """The first values, as a message lists them, and (``total``) how many there are if more."""
    values = list(map(str, values))
    shown = ', '.join(values[:most]) or 'none'
    more = f', ... ({len(values)} in all)' if total else ', ...'
    return shown if len(values) <= most else shown + more
