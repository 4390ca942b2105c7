from pathlib import Path

import pytest

from simmim_mm.processor import cpu_has_bfloat16


@pytest.fixture(autouse=True)
def asked_anew():
    cpu_has_bfloat16.cache_clear()
    yield
    cpu_has_bfloat16.cache_clear()


@pytest.mark.parametrize(
    'text, expected',
    [
        ('flags\t\t: fpu avx512f avx512_bf16 sse\n', True),
        ('flags\t\t: fpu amx_bf16 amx_tile\nflags\t\t: fpu amx_bf16\n', True),
        ('flags\t\t: fpu avx512f avx512_vnni\n', False),
        ('Features\t: fp asimd bf16\n', True),
        ('Features\t: fp asimd\n', False),
        ('Processor : unknown\n', None),
    ],
)
def test_processor_flags(monkeypatch, text, expected):
    monkeypatch.setattr(Path, 'read_text', lambda self: text)
    assert cpu_has_bfloat16() is expected


def test_processor_without_that_file(monkeypatch):
    def missing(self):
        raise FileNotFoundError

    monkeypatch.setattr(Path, 'read_text', missing)
    assert cpu_has_bfloat16() is None
