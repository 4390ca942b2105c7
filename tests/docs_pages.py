"""The documentation as text, and its pages as scripts."""

import os
import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = [
    *(ROOT / page for page in ('README.md', 'CONTRIBUTING.md')),
    *(
        page
        for folder in ('docs', 'configs', 'examples')
        for page in sorted((ROOT / folder).rglob('*.md'))
    ),
]
BLOCK = re.compile(r'^( *)```(\w*)\n(.*?)^ *```$', re.MULTILINE | re.DOTALL)


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def blocks(text: str) -> list[tuple[str, str]]:
    """Language and content of each fenced block, in order."""
    return [(m[2], re.sub(f'^{m[1]}', '', m[3], flags=re.MULTILINE)) for m in BLOCK.finditer(text)]


def inline_code(text: str) -> list[str]:
    """What stands between backticks, outside fenced blocks."""
    return [' '.join(code.split()) for code in re.findall(r'`([^`]+)`', BLOCK.sub('', text))]


def commands(text: str) -> list[str]:
    """Commands of the bash blocks, one a line, without comments."""
    lines = '\n'.join(block for language, block in blocks(text) if language == 'bash')
    lines = lines.replace('\\\n', ' ')
    return [re.sub(r'\s+# .*', '', line) for line in lines.splitlines() if line.strip()]


def run_page(text: str, folder: Path, python: str) -> str:
    """Write the files ``my_*.py`` of a page, run its commands in order, return what they print."""
    bin_folder = folder / 'bin'
    bin_folder.mkdir()
    for name in ('configs', 'tools'):
        (folder / name).symlink_to(ROOT / name)
    (bin_folder / 'simmim').write_text(
        f'#!/bin/sh\nexport PYTHONPATH="{ROOT}:$PYTHONPATH"\n'
        f'exec "{python}" -m simmim_mm.cli "$@"\n'
    )
    (bin_folder / 'python').write_text(f'#!/bin/sh\nexec "{python}" "$@"\n')
    for name in ('simmim', 'python'):
        (bin_folder / name).chmod(0o755)
    path = os.pathsep.join([str(bin_folder), os.environ['PATH']])
    printed = ''
    for language, block in blocks(text):
        if language == 'python' and (file := re.match(r'# (my_\w+\.py)\n', block)):
            (folder / file[1]).write_text(block)
        elif language == 'bash':
            done = subprocess.run(
                ['bash', '-ec', block],
                capture_output=True,
                text=True,
                cwd=folder,
                env=dict(os.environ, PATH=path),
                timeout=600,
            )
            assert done.returncode == 0, f'{block}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}'
            printed += done.stdout + done.stderr
    return printed


def shortened(text: str, shorter: dict[str, str]) -> str:
    """The page with less data and fewer iterations; each of the replaced texts must be there."""
    for old, new in shorter.items():
        assert old in text, old
        text = text.replace(old, new)
    return text
