"""Links of the documentation lead somewhere, and the index leads to every page."""

import re
from pathlib import Path

import pytest
from docs_pages import BLOCK, PAGES, ROOT, name

PAGES = [*PAGES, ROOT / 'CHANGELOG.md']
LINK = re.compile(r'\]\(([^)\s]+)\)')


def anchors(page: Path) -> set[str]:
    """As GitHub makes them from headings."""
    headings = re.findall(r'^#+ (.*)$', BLOCK.sub('', page.read_text()), re.MULTILINE)
    return {re.sub(r'[^\w\- ]', '', text.lower()).replace(' ', '-') for text in headings}


@pytest.mark.parametrize('page', PAGES, ids=name)
def test_links_lead_somewhere(page):
    for link in LINK.findall(BLOCK.sub('', page.read_text())):
        if link.startswith(('http://', 'https://')):
            continue
        path, _, anchor = link.partition('#')
        target = (page.parent / path).resolve() if path else page
        assert target.is_file(), link  # the site has no pages for folders
        assert target.is_relative_to(ROOT), link
        if anchor:
            assert anchor in anchors(target), link


def test_the_index_links_every_page():
    index = ROOT / 'docs' / 'README.md'
    linked = {
        (index.parent / link.partition('#')[0]).resolve()
        for link in LINK.findall(index.read_text())
    }
    pages = {page for end in ('md', 'ipynb') for page in (ROOT / 'docs').rglob(f'*.{end}')}
    assert pages - linked == {index}


def test_code_names_pages_that_exist():
    for folder in ('simmim_mm', 'configs', 'tools', 'tests', 'examples', 'benchmarks'):
        for path in (ROOT / folder).rglob('*.py'):
            for page in re.findall(r'\bdocs/[\w./-]+\.md\b', path.read_text()):
                assert (ROOT / page).exists(), f'{path}: {page}'
    for page in re.findall(r'README: (\S+)', (ROOT / 'model-index.yml').read_text()):
        assert (ROOT / page).exists(), page


@pytest.mark.parametrize('page', PAGES, ids=name)
def test_headings_are_whole(page):
    """One title, and no heading that two edits have run together."""
    headings = re.findall(r'^(#+) (.*)$', BLOCK.sub('', page.read_text()), re.MULTILINE)
    assert [level for level, _ in headings].count('#') == 1
    assert not [text for _, text in headings if '#' in text]
