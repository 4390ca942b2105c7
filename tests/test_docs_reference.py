"""The pages of the reference are complete: verbs, functions, old names."""

import ast
import inspect
import re

import pytest
from docs_pages import ROOT, name
from reference_pages import tables, written

import simmim_mm
from simmim_mm import api


@pytest.mark.parametrize('page', tables(), ids=name)
def test_tables_are_those_of_the_code(page):
    """If not: ``python tests/reference_pages.py``."""
    assert page.read_text() == written(page)


STUB = (ROOT / 'simmim_mm/__init__.pyi').read_text()
API = (ROOT / 'docs/reference/api.md').read_text()


def test_every_public_name_is_on_the_page_of_the_python_api():
    headings = re.findall(r'^### `(\w+)`$', API, re.MULTILINE)
    public = re.findall(r'import \w+ as (\w+)', STUB)
    assert sorted(headings) == sorted({*public} - {'registry'})


def test_signatures_on_the_page_are_those_of_the_functions():
    found = re.findall(r'^### `(\w+)`\n\n```text\n(.*?)```', API, re.MULTILINE | re.DOTALL)
    assert len(found) == API.count('\n### ')
    for heading, text in found:
        (function,) = ast.parse(f'def {text.strip()}: ...').body
        signature = inspect.signature(getattr(api, heading, None) or getattr(simmim_mm, heading))
        bare = [p.replace(annotation=p.empty) for p in signature.parameters.values()]
        shown = inspect.Signature(bare)
        assert f'{heading}{shown}' == ast.unparse(function).removeprefix('def ').partition(':')[0]
