from .grid import draw_grid, target_note

__all__ = ['draw_grid', 'target_note']
