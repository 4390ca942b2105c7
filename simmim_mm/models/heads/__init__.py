from .foreground_branch import ForegroundBranch
from .pixel_head import PixelHead

__all__ = ['ForegroundBranch', 'PixelHead']
