"""The documentation as text: its pages, code blocks, commands and inline code."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / 'README.md', ROOT / 'CONTRIBUTING.md', *sorted((ROOT / 'docs').rglob('*.md'))]
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
