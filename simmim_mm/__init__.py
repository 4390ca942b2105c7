"""Masked image modelling on pixels (SimMIM, PixMIM and relatives) as an mmengine plugin."""

from . import registry
from .version import __version__

__all__ = ['__version__', 'registry']
