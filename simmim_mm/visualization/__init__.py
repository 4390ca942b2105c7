from .grid import draw_grid

__all__ = ['draw_grid']
