"""The documentation as a site: ``make docs`` writes it to ``build/site``.

The pages are the Markdown files as GitHub shows them, README.md first; the source folder is the
root of the clone, so that every link works in both. Two things are added on the way: the menu, from
the lists of docs/README.md, and the docstrings, where GitHub shows what tests/reference_pages.py
took from them.
"""

import re
import warnings
from inspect import isclass
from pathlib import Path
from posixpath import normpath

from simmim_mm import registry
from simmim_mm.version import __version__

# autodoc looks at every attribute of a class
warnings.filterwarnings('ignore', '.* until simmim_mm 1.0', FutureWarning)

ROOT = Path(__file__).resolve().parents[1]

project = 'simmim_mm'
author = 'The simmim_mm contributors'
version = release = __version__

extensions = [
    'myst_nb',  # Markdown and notebooks
    'sphinx.ext.autodoc',
    'sphinx.ext.napoleon',
    'sphinx.ext.viewcode',
    'sphinx_copybutton',
]
root_doc = 'README'
include_patterns = ['*.md', 'configs/**.md', 'docs/**.md', 'docs/**.ipynb', 'examples/*.md']
myst_heading_anchors = 4
nb_execution_mode = 'off'  # tests/test_docs_notebooks.py runs them

autodoc_inherit_docstrings = False
autodoc_typehints = 'description'
autodoc_typehints_description_target = 'documented'
autodoc_typehints_format = 'short'
add_module_names = False
maximum_signature_line_length = 88
python_use_unqualified_type_names = True

html_theme = 'furo'
html_title = f'simmim_mm {version}'
html_show_sourcelink = False
html_copy_source = False

LINK = re.compile(r'^- \[([^\]]+)\]\(([^)#]+)\)', re.MULTILINE)
MARKED = re.compile(r'<!-- (\w+) -->\n(.*?)<!-- end of \1 -->\n', re.DOTALL)


def menu() -> str:
    """Tables of contents, one for each list of docs/README.md."""
    text = (ROOT / 'docs/README.md').read_text()
    tables = [toctree(['/docs/README'])]
    for section in text.split('\n## ')[1:]:
        if pages := [page for _, page in LINK.findall(section)]:
            pages = ['/' + normpath(f'docs/{page}') for page in pages]
            tables.append(toctree(pages, section.partition('\n')[0]))
    return '\n'.join(tables)


def toctree(pages: list[str], caption: str = '') -> str:
    options = [':hidden:', *([f':caption: {caption}'] if caption else [])]
    return '\n'.join(['```{toctree}', *options, *pages, '```\n'])


def documented(name: str) -> str:
    """The directive for a function of the API, or for a registered module."""
    if name.startswith('simmim_mm.'):
        return f'.. autofunction:: {name}'
    for one in vars(registry).values():
        if isinstance(one, registry.Registry) and (found := one.get(f'simmim_mm.{name}')):
            kind = 'class' if isclass(found) else 'function'
            return f'.. auto{kind}:: {found.__module__}.{found.__name__}'
    raise LookupError(name)


def with_docstrings(page: str, text: str) -> str:
    def directives(match: re.Match) -> str:
        names = [f'simmim_mm.{match[1]}']
        if page == 'docs/reference/modules':
            names = re.findall(r'^\| \[`(\w+)`\]', match[2], re.MULTILINE)
        return '\n'.join(['```{eval-rst}', *map(documented, names), '```\n'])

    return MARKED.sub(directives, text)


def read(app, page: str, source: list[str]) -> None:
    if page == 'README':
        source[0] += '\n' + menu()
    if page == 'configs/README':
        folders = sorted(set(re.findall(r'\(([\w/]+/README\.md)\)', source[0])))
        source[0] += '\n' + toctree(folders)
    if page in ('docs/reference/api', 'docs/reference/modules'):
        source[0] = with_docstrings(page, source[0])


def write_index(app, error: Exception | None) -> None:
    """A site is entered at index.html."""
    if error is None:
        page = '<!doctype html><meta http-equiv="refresh" content="0; url=README.html">'
        Path(app.outdir, 'index.html').write_text(page + '<title>simmim_mm</title>\n')


def setup(app) -> None:
    app.connect('build-finished', write_index)
    app.connect('source-read', read)
