"""Masked image modelling on pixels (SimMIM, PixMIM and relatives) as an mmengine plugin."""

from . import _stack

_stack.check()  # before the first import of mmengine, so that its absence is told in one line

from . import registry  # noqa: E402
from .version import __version__  # noqa: E402

__all__ = ['__version__', 'registry']
