"""The pages of the reference are complete: verbs, functions, registered modules, old names."""

import re

import pytest
from docs_pages import ROOT, name
from reference_pages import described, public_names, tables, written


@pytest.mark.parametrize('page', tables(), ids=name)
def test_tables_are_those_of_the_code(page):
    """If not: ``python tests/reference_pages.py``."""
    assert page.read_text() == written(page)


def test_every_public_name_has_its_heading():
    api = (ROOT / 'docs/reference/api.md').read_text()
    assert sorted(re.findall(r'^### `(\w+)`$', api, re.MULTILINE)) == public_names()


def test_docstrings_become_markdown():
    def function(one: int, *, two: str = 'x') -> None:
        """Add ``one``, see :func:`~package.other`.

        Args:
            one: A number,
                which goes on: here.
            two: Text.

        Raises:
            ValueError: If not.
        """

    assert described(function) == (
        "```text\nfunction(one, *, two='x')\n```\n\nAdd `one`, see `other`.\n\n"
        '- `one`: A number, which goes on: here.\n- `two`: Text.\n\n'
        'Raises:\n\n- `ValueError`: If not.\n'
    )
