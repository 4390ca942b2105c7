"""The structure that CONTRIBUTING draws: a ladder of packages, and no circles."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / 'simmim_mm'


def modules() -> dict[str, Path]:
    """Every module of the package by name, without what a wheel carries beside it (.mim)."""
    found = {}
    for path in PACKAGE.rglob('*.py'):
        parts = path.relative_to(ROOT).with_suffix('').parts
        if '.mim' not in parts:
            found['.'.join(parts[:-1] if parts[-1] == '__init__' else parts)] = path
    return found


def imports(name: str, path: Path, known: dict[str, Path]) -> set[str]:
    """Modules of the package that one imports anywhere: at its top, in functions, for types."""
    package = name if path.name == '__init__.py' else name.rpartition('.')[0]
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split('.')[: len(package.split('.')) - node.level + 1]
            base = '.'.join([*above, *filter(None, [node.module])]) if node.level else node.module
            for alias in node.names:
                full = f'{base}.{alias.name}'
                found.add(full if full in known else base)
    return {other for other in found if other in known and other != name}


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Strongly connected components of more than one node (Tarjan)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in sorted(graph[node]):
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            members = stack[stack.index(node) :]
            del stack[stack.index(node) :]
            if len(members) > 1:
                found.append(sorted(members))

    for node in sorted(graph):
        if node not in index:
            visit(node)
    return found


def test_circles_are_found():
    graph = dict(a={'b'}, b={'c'}, c={'b', 'd'}, d=set(), e={'a', 'e'})
    assert circles(graph) == [['b', 'c']]


def test_no_module_imports_itself_through_others():
    known = modules()
    assert 'simmim_mm.cli' in known and len(known) > 100
    graph = {name: imports(name, path, known) for name, path in known.items()}
    assert 'simmim_mm.registry' in graph['simmim_mm.models.backbones.masked_swin']
    assert circles(graph) == []


def test_each_package_imports_only_from_those_below_it():
    """The layers stand in pyproject.toml, and every package has to be one of them."""
    result = subprocess.run(
        [str(Path(sys.executable).with_name('lint-imports')), '--no-cache'],
        cwd=ROOT,
        env=dict(os.environ, PYTHONPATH=str(ROOT)),
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert 'The ladder KEPT' in result.stdout


def test_the_range_of_pythons_is_the_same_everywhere():
    """setup.py states it; the type checker, CI and the texts follow."""
    setup = (ROOT / 'setup.py').read_text()
    low, high = map(int, re.search(r'>=3\.(\d+),<3\.(\d+)', setup).groups())
    versions = [f'3.{minor}' for minor in range(low, high)]
    workflow = (ROOT / '.github/workflows/ci.yml').read_text()
    assert re.search(r'python-version: \[(.*)\]', workflow)[1].replace("'", '') == ', '.join(
        versions
    )
    assert f'pythonVersion = "{versions[0]}"' in (ROOT / 'pyproject.toml').read_text()
    for name in ('README.md', 'CONTRIBUTING.md'):
        named = re.findall(r'Python (3\.\d+)', (ROOT / name).read_text())
        assert named and set(named) <= set(versions), name
