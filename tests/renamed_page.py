"""The tables of docs/reference/renamed.md, from what the package knows of old names.

``python tests/renamed_page.py`` writes the page again.
"""

import ast
import re
from pathlib import Path

from docs_pages import ROOT

from simmim_mm._renamed import MODULES, NAMES, TYPES

PAGE = ROOT / 'docs' / 'reference' / 'renamed.md'
MARK = '<!-- {} -->\n'


def decorated_classes() -> list[tuple[str, str, str]]:
    """Class, old and new spelling of what ``renamed_arguments`` decorators say, by reading them."""
    found = []
    for path in sorted((ROOT / 'simmim_mm').rglob('*.py')):
        for node in ast.walk(ast.parse(path.read_text())):
            for call in getattr(node, 'decorator_list', ()):
                if 'renamed_arguments' not in ast.unparse(call):
                    continue
                for keyword in call.keywords:
                    value = ast.literal_eval(keyword.value)
                    if keyword.arg == 'values':
                        found += [
                            (node.name, f'{argument}={old!r}', f'{new!r}')
                            for argument, spellings in value.items()
                            for old, new in spellings.items()
                        ]
                    else:
                        found.append((node.name, keyword.arg, value))
    return sorted(found, key=str)


def table(head: tuple[str, ...], rows) -> str:
    lines = [head, ['---'] * len(head), *rows]
    return ''.join(f'| {" | ".join(line)} |\n' for line in lines)


def code(text: str | None) -> str:
    return f'`{text}`' if text else 'no longer needed'


def tables() -> dict[str, str]:
    """Contents of the page by the name of its mark."""
    return {
        'types': table(('0.1', '0.2'), ((code(a), code(b)) for a, b in sorted(TYPES.items()))),
        'arguments': table(
            ('of', '0.1', '0.2'), ((code(a), code(b), code(c)) for a, b, c in decorated_classes())
        ),
        'names': table(
            ('0.1', '0.2'), ((code(a), code(b)) for a, b in sorted(NAMES.items()) if a not in TYPES)
        ),
        'modules': table(
            ('0.1', '0.2'),
            ((code(a), ', '.join(map(code, new))) for a, new in sorted(MODULES.items())),
        ),
    }


def page() -> str:
    text = PAGE.read_text()
    for name, content in tables().items():
        begin, end = MARK.format(name), MARK.format(f'end of {name}')
        assert begin in text and end in text, f'{PAGE.name} has no mark for {name}'
        pattern = f'(?<={re.escape(begin)}).*?(?={re.escape(end)})'
        text = re.sub(pattern, lambda _, new=content: new, text, flags=re.DOTALL)
    return text


if __name__ == '__main__':
    Path(PAGE).write_text(page())
