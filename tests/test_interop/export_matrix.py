"""The table of docs/how-to/export.md, from what verification says.

``python tests/test_interop/export_matrix.py`` rewrites it; the test compares it.
"""

import sys
import tempfile
from pathlib import Path

import export_toys as toys

from simmim_mm.interop import TARGETS, ExportError, export_backbone, read_source, verify
from simmim_mm.interop.registry import BACKBONES, refusal

PAGE = Path(__file__).parents[2] / 'docs' / 'how-to' / 'export.md'
BEGIN, END = '<!-- begin of the table -->\n', '<!-- end of the table -->\n'
CLASSES = dict(timm=lambda name: name.split('_')[0])


def cell(source, target: str) -> str:
    """The library's architecture if features agree at both sizes, else why it has none."""
    if reason := refusal(source.family, target):
        return f'no: {reason}'
    for options in ({}, toys.FAMILIES[source.family][1]):
        export = export_backbone(source, target, **options)
        verify(export)
    name = CLASSES.get(target, str)(export.architecture)
    fresh = f'; fresh: {", ".join(f"`{n}`" for n in export.fresh)}' if export.fresh else ''
    return f'`{name}`{fresh}'


def table() -> str:
    """Rows of the families, columns of the libraries, in Markdown."""
    lines = [f'| | {" | ".join(TARGETS)} |', '|---' * (len(TARGETS) + 1) + '|']
    with tempfile.TemporaryDirectory() as folder:
        for family in BACKBONES:
            source = read_source(toys.save(Path(folder) / 'toy.pth', family))
            cells = []
            for target in TARGETS:
                try:
                    cells.append(cell(source, target))
                except ExportError as error:
                    cells.append(f'FAILS: {error}')
            lines.append(f'| `{family}` | {" | ".join(cells)} |')
    return '\n'.join(lines) + '\n'


def parts() -> tuple[str, str, str]:
    """The page before the table, the table, the page after it."""
    before, rest = PAGE.read_text(encoding='utf-8').split(BEGIN)
    inside, after = rest.split(END)
    return before + BEGIN, inside, END + after


if __name__ == '__main__':
    before, _, after = parts()
    text = table()
    PAGE.write_text(before + text + after, encoding='utf-8')
    sys.stdout.write(text)
