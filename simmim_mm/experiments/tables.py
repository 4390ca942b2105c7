"""Tables as Markdown and CSV."""

import csv
from collections.abc import Sequence
from pathlib import Path


def markdown_table(rows: Sequence[dict], number: str = '{:.3g}') -> str:
    """Rows of equal keys as a Markdown table; ``None`` is an empty cell.

    Args:
        number: Format of the cells that are not text.
    """
    lines = [list(rows[0]), ['---'] * len(rows[0])]
    for row in rows:
        cells = ['' if value is None else value for value in row.values()]
        lines.append([v if isinstance(v, str) else number.format(v) for v in cells])
    return '\n'.join(f'| {" | ".join(line)} |' for line in lines)


def write_csv(path: str | Path, rows: Sequence[dict]) -> None:
    """Rows of equal keys as CSV with a header, in full precision; makes the folder."""
    from simmim_mm.checkpoint.file_backend import written_whole  # imports torch

    with written_whole(path, 'w', newline='', encoding='utf-8') as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
