"""The parts of the reference that are made from the code.

``python tests/reference_pages.py`` writes them again.
"""

import ast
import importlib
import inspect
import json
import re
import textwrap
from collections.abc import Callable, Iterable
from pathlib import Path

from docs_pages import ROOT
from mmengine.registry import Registry

import simmim_mm
from simmim_mm import registry
from simmim_mm._renamed import MODULES, NAMES, TYPES
from simmim_mm.cli import VERBS, load_verb

REFERENCE = ROOT / 'docs' / 'reference'
MARK = '<!-- {} -->\n'


def decorated(decorator: str) -> list[tuple[str, str, str | None]]:
    """Class or function, old and new spelling, read from all uses of a decorator."""
    found = []
    for path in sorted((ROOT / 'simmim_mm').rglob('*.py')):
        for node in ast.walk(ast.parse(path.read_text())):
            for call in getattr(node, 'decorator_list', ()):
                if not isinstance(call, ast.Call) or ast.unparse(call.func) != decorator:
                    continue
                for keyword in call.keywords:
                    value = ast.literal_eval(keyword.value)
                    if keyword.arg != 'values':
                        found.append((node.name, keyword.arg, value))
                    elif decorator == 'renamed_arguments':
                        found += [
                            (node.name, f'{argument}={old!r}', f'{new!r}')
                            for argument, spellings in value.items()
                            for old, new in spellings.items()
                        ]
                    else:
                        found += [(node.name, repr(old), repr(new)) for old, new in value.items()]
    return sorted(found, key=str)


def moved_names() -> dict[str, str]:
    """Names in modules."""
    return {old: NAMES[old] for old in sorted(NAMES) if old not in TYPES}


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ['---'] * len(head), *rows]
    return ''.join(f'| {" | ".join(line)} |\n' for line in lines)


def code(text: str | None) -> str:
    return f'`{text}`' if text else 'no longer needed'


def public_names() -> list[str]:
    """Functions of the Python API."""
    names = re.findall(r'import \w+ as (\w+)', (ROOT / 'simmim_mm/__init__.pyi').read_text())
    return sorted({*names} - {'registry'})


def markdown(text: str) -> str:
    """Text of a docstring: reStructuredText of the simple kind."""
    text = re.sub(r':\w+:`~?(?:[\w.]*\.)?(\w+)`', r'`\1`', text)
    return ' '.join(text.replace('``', '`').split())


def described(function: Callable) -> str:
    """Signature and docstring of a function; the arguments, results and errors as lists."""
    signature = inspect.signature(function)
    bare = signature.replace(
        parameters=[p.replace(annotation=p.empty) for p in signature.parameters.values()],
        return_annotation=signature.empty,
    )
    text = textwrap.fill(f'{function.__name__}{bare}', 78, subsequent_indent='    ')
    parts = [f'```text\n{text}\n```']
    for paragraph in inspect.getdoc(function).split('\n\n'):
        head, _, rest = paragraph.partition('\n')
        if head not in ('Args:', 'Returns:', 'Raises:'):
            parts.append(markdown(paragraph))
            continue
        rest = textwrap.dedent(rest)
        if head == 'Returns:':
            parts.append(f'Returns: {markdown(rest)}')
            continue
        items = [item.partition(': ') for item in re.split(r'\n(?=\S)', rest)]
        lines = [f'- `{name}`: {markdown(about)}' for name, _, about in items]
        parts.append('\n'.join(lines if head == 'Args:' else ['Raises:', '', *lines]))
    return '\n\n'.join(parts) + '\n'


def registered() -> dict[str, list]:
    """Registered classes and functions by kind, a package of models or a registry."""
    importlib.import_module('simmim_mm.models.backbones')
    importlib.import_module('simmim_mm.models.downstream')
    kinds: dict[str, list] = {}
    for one in vars(registry).values():
        if not isinstance(one, Registry) or one.scope != 'simmim_mm':
            continue
        one.import_from_location()
        for name, found in one.module_dict.items():
            if found.__module__.startswith('simmim_mm.'):
                kind = one.name if one is not registry.MODELS else found.__module__.split('.')[2]
                kinds.setdefault(kind.replace(' ', '_'), []).append((name, found))
    return kinds


def module_table(entries: Iterable[tuple[str, type]]) -> str:
    def row(name: str, found: type) -> tuple[str, str]:
        path = found.__module__.replace('.', '/') + '.py'
        path = path if (ROOT / path).exists() else path.removesuffix('.py') + '/__init__.py'
        summary = inspect.cleandoc(found.__doc__ or '').partition('\n\n')[0]
        return f'[`{name}`](../../{path})', markdown(summary)

    return table(('type', ''), (row(*entry) for entry in sorted(entries)))


def tables() -> dict[Path, dict[str, str]]:
    """Tables, or texts, by page and mark."""
    configs = json.loads((ROOT / 'configs/renamed.json').read_text())
    options = [
        (f'simmim {verb}', old, new)
        for verb in VERBS
        for old, new in getattr(load_verb(verb), 'RENAMED', {}).items()
    ]
    renamed = {
        'options': table(('command', '0.1', '0.2'), (tuple(map(code, row)) for row in options)),
        'types': table(('0.1', '0.2'), ((code(a), code(b)) for a, b in sorted(TYPES.items()))),
        'arguments': table(
            ('of', '0.1', '0.2'), (tuple(map(code, row)) for row in decorated('renamed_arguments'))
        ),
        'attributes': table(
            ('of', '0.1', '0.2'), (tuple(map(code, row)) for row in decorated('renamed_attributes'))
        ),
        'names': table(('0.1', '0.2'), ((code(a), code(b)) for a, b in moved_names().items())),
        'modules': table(
            ('0.1', '0.2'),
            ((code(a), ', '.join(map(code, new))) for a, new in sorted(MODULES.items())),
        ),
        'configs': table(
            ('0.1', '0.2', 'with other values of'),
            (
                (code(old), code(new['config']), ', '.join(map(code, new.get('options', {}))))
                for old, new in sorted(configs.items())
            ),
        ),
    }
    verbs = table(('verb', ''), ((code(f'simmim {verb}'), load_verb(verb).HELP) for verb in VERBS))
    return {
        REFERENCE / 'renamed.md': renamed,
        REFERENCE / 'command_line.md': {'verbs': verbs},
        REFERENCE / 'api.md': {n: described(simmim_mm.__getattr__(n)) for n in public_names()},
        REFERENCE / 'modules.md': {k: module_table(v) for k, v in registered().items()},
    }


def written(page: Path) -> str:
    """The page with its tables as the code has them."""
    text = page.read_text()
    for name, content in tables()[page].items():
        begin, end = MARK.format(name), MARK.format(f'end of {name}')
        assert begin in text and end in text, f'{page.name} has no mark for {name}'
        pattern = f'(?<={re.escape(begin)}).*?(?={re.escape(end)})'
        text = re.sub(pattern, lambda _, new=content: new, text, flags=re.DOTALL)
    return text


if __name__ == '__main__':
    for page in tables():
        page.write_text(written(page))
