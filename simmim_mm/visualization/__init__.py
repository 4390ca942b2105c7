from simmim_mm.visualization.grid import draw_grid, target_note

__all__ = ['draw_grid', 'target_note']
