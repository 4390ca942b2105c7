"""The README stays short, and commands fit into a terminal; versions and citation agree."""

import re

import pytest
import yaml
from docs_pages import PAGES, ROOT, blocks, name

import simmim_mm


def test_the_readme_is_short():
    assert len((ROOT / 'README.md').read_text().splitlines()) <= 130


@pytest.mark.parametrize('page', PAGES, ids=name)
def test_commands_fit_into_a_terminal(page):
    lines = [
        line
        for language, block in blocks(page.read_text())
        if language == 'bash'
        for line in block.splitlines()
    ]
    assert not [line for line in lines if len(line) > 80]


def test_versions_agree():
    changelog = (ROOT / 'CHANGELOG.md').read_text()
    version, date = re.search(r'^## \[([\d.]+)\] - (\S+)$', changelog, re.MULTILINE).groups()
    citation = yaml.safe_load((ROOT / 'CITATION.cff').read_text())
    assert version == citation['version'] == simmim_mm.__version__
    assert date == str(citation['date-released'])


def test_the_citation_has_what_its_format_requires():
    """Citation File Format 1.2.0."""
    citation = yaml.safe_load((ROOT / 'CITATION.cff').read_text())
    assert citation['cff-version'] == '1.2.0'
    assert {'authors', 'message', 'title'} <= {*citation}
    for reference in citation['references']:
        assert {'authors', 'title', 'type'} <= {*reference}
        assert all({'family-names', 'given-names'} == {*author} for author in reference['authors'])


def test_every_cited_paper_has_a_bibtex_entry():
    bibtex = (ROOT / 'docs/reference/citing.md').read_text()
    citation = yaml.safe_load((ROOT / 'CITATION.cff').read_text())
    titles = re.findall(r'\btitle\s*= \{(.*)\}', bibtex)
    assert sorted(titles) == sorted(reference['title'] for reference in citation['references'])
