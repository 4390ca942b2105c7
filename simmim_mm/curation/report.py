"""What a scan has found: a table for programs, a page for people."""

import base64
import csv
import io
from collections import defaultdict
from html import escape
from pathlib import Path

import numpy as np
from mmengine import fileio
from PIL import Image

from simmim_mm.checkpoint.file_backend import write_lines as write_lines
from simmim_mm.checkpoint.file_backend import written_whole
from simmim_mm.curation.inspection import FAULTS
from simmim_mm.curation.scan import Scan
from simmim_mm.datasets.decode import decode
from simmim_mm.datasets.errors import DataError
from simmim_mm.datasets.shards import join
from simmim_mm.datasets.values import apply_window, fill_nodata, find_nodata, suspect_nodata

COLUMNS = ('path', 'status', 'group', 'height', 'width', 'channels', 'detail')
_THUMBNAIL = 112  # pixels

_STYLE = """
body {font: 15px sans-serif; margin: 2em; max-width: 75em}
figure {display: inline-block; margin: 4px; vertical-align: top; width: 130px}
figcaption {font-size: 11px; overflow-wrap: anywhere}
.kept img {outline: 3px solid #2a2}
.row {border-top: 1px solid #ccc; padding: 4px 0}
td, th {padding: 2px 12px; text-align: left}
"""


def write_csv(scan: Scan, path: str | Path) -> None:
    """A line for each file: its path below the folder, status, group and what else is known.

    ``group`` is the path of the first duplicate, and empty for faults.
    """
    text = dict(newline='', encoding='utf-8', errors='surrogateescape')
    with written_whole(path, 'w', **text) as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for i, name in enumerate(scan.paths):
            group = scan.paths[scan.groups[i]] if scan.groups[i] >= 0 else ''
            detail = scan.faults.get(i, ('', ''))[1]
            writer.writerow([name, scan.status(i), group, *scan.shapes[i].tolist(), detail])


def read_report(path: str | Path) -> list[dict[str, str]]:
    """The lines of a table that :func:`write_csv` wrote, also of version 0.1.

    Raises:
        DataError: If it is not one.
    """
    try:
        with open(path, newline='', encoding='utf-8', errors='surrogateescape') as file:
            reader = csv.DictReader(file)
            names = ['channels' if n == 'bands' else n for n in reader.fieldnames or []]  # of 0.1
            reader.fieldnames = names
            rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f'{path} cannot be read as a table: {error}') from error
    if missing := [name for name in COLUMNS if name not in names]:
        raise DataError(f'{path} is not the report of a scan: it has no column {missing[0]!r}')
    return rows


def write_html(scan: Scan, path: str | Path, max_rows: int = 200) -> None:
    """A page with every file that is not kept, duplicates beside each other.

    Args:
        max_rows: At most so many files of a fault, and so many groups; the table has them all.
    """
    counts = scan.counts()
    titles = dict(
        kept='fit', **FAULTS, duplicate='same bytes or pixels', near_duplicate='look the same'
    )
    shown = [(name, counts[name], escape(titles[name])) for name in titles if counts[name]]
    parts = [
        f'<!doctype html><meta charset="utf-8"><title>{escape(scan.root)}</title>',
        f'<style>{_STYLE}</style><h1>{escape(scan.root)}</h1><table>',
        *(f'<tr><th>{name}<td>{count}<td>{title}' for name, count, title in shown),
        '</table>',
    ]
    by_fault = defaultdict(list)
    for i, (fault, _) in scan.faults.items():
        by_fault[fault].append(i)
    for fault in FAULTS:
        if by_fault[fault]:
            parts.append(f'<h2>{fault}</h2>')
            parts += (_figure(scan, i) for i in by_fault[fault][:max_rows])
            parts.append(_more(len(by_fault[fault]), max_rows))
    if groups := _groups(scan):
        parts.append('<h2>duplicates</h2><p>The framed one is kept.')
        for members in groups[:max_rows]:
            best_first = members[np.argsort(~scan.kept[members], kind='stable')]
            figures = (_figure(scan, i) for i in best_first[:12].tolist())
            parts += ['<div class="row">', *figures, '</div>']
        parts.append(_more(len(groups), max_rows))
    with written_whole(path, 'w', encoding='utf-8', errors='replace') as file:
        file.write('\n'.join(parts))


def _groups(scan: Scan) -> list[np.ndarray]:
    """The members of each group of several."""
    order = np.argsort(scan.groups, kind='stable')
    order = order[scan.groups[order] >= 0]
    starts = np.flatnonzero(np.diff(scan.groups[order], prepend=-1))
    stops = np.append(starts[1:], len(order))
    return [order[i:j] for i, j in zip(starts, stops) if j - i > 1]


def _more(count: int, shown: int) -> str:
    return f'<p>and {count - shown} more, see the table' if count > shown else ''


def _figure(scan: Scan, index: int) -> str:
    name, (height, width, _) = scan.paths[index], scan.shapes[index]
    status = scan.status(index)
    detail = scan.faults.get(index, ('', f'{width} x {height}'))[1]
    image = _thumbnail(join(scan.root, name)) if height else ''
    return (
        f'<figure class="{status}">{image}<figcaption>{escape(name)}<br>'
        f'{status}: {escape(detail)}</figcaption></figure>'
    )


def _thumbnail(path: str) -> str:
    try:
        array = decode(fileio.get(path)).array
        array = array[..., : 3 if array.shape[-1] >= 3 else 1]
        if array.dtype != np.uint8:
            hidden = find_nodata(array, suspect_nodata(array))
            array = apply_window(fill_nodata(array, hidden), ('1%', '99%'), joint=True)
        array = array[..., 0] if array.shape[-1] == 1 else array
        image = Image.fromarray(np.ascontiguousarray(array.astype(np.uint8)))
        image.thumbnail((_THUMBNAIL, _THUMBNAIL))
        buffer = io.BytesIO()
        image.convert('RGB').save(buffer, 'JPEG', quality=80)
    except (OSError, ValueError):  # gone or changed since the scan
        return ''
    return f'<img src="data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}">'
