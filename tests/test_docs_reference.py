"""The pages of the reference are complete: verbs, functions, old names."""

import inspect
import re

import pytest
from docs_pages import ROOT, name
from reference_pages import tables, written

import simmim_mm


@pytest.mark.parametrize('page', tables(), ids=name)
def test_tables_are_those_of_the_code(page):
    """If not: ``python tests/reference_pages.py``."""
    assert page.read_text() == written(page)


def test_every_public_name_is_on_the_page_of_the_python_api():
    text = (ROOT / 'docs/reference/api.md').read_text()
    headings = re.findall(r'^### `(\w+)`$', text, re.MULTILINE)
    assert sorted(headings) == sorted({*simmim_mm.__all__} - {'__version__', 'registry'})


def test_signatures_on_the_page_are_those_of_the_functions():
    text = (ROOT / 'docs/reference/api.md').read_text()
    for heading, signature in re.findall(r'^### `(\w+)`\n\n```python\n(.*?)```', text, re.M | re.S):
        arguments = re.findall(r'^ *(?:\*, )?\**(\w+)[:,=]', signature.replace('(', '(\n'), re.M)
        assert arguments == list(inspect.signature(getattr(simmim_mm, heading)).parameters)
