from simmim_mm.models.heads.foreground_branch import ForegroundBranch
from simmim_mm.models.heads.pixel_head import PixelHead

__all__ = ['ForegroundBranch', 'PixelHead']
