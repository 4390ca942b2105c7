from pathlib import Path

import pytest

from simmim_mm.processor import cpu_has_bfloat16, cpu_is_amd_avx512


@pytest.fixture(autouse=True)
def asked_anew():
    for question in (cpu_has_bfloat16, cpu_is_amd_avx512):
        question.cache_clear()
    yield
    for question in (cpu_has_bfloat16, cpu_is_amd_avx512):
        question.cache_clear()


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


@pytest.mark.parametrize(
    ('vendor', 'flags', 'gains'),
    [
        ('AuthenticAMD', 'avx2 avx512f', True),
        ('AuthenticAMD', 'avx2', False),
        ('GenuineIntel', 'avx2 avx512f', False),
    ],
)
def test_amd_with_avx512(monkeypatch, vendor, flags, gains):
    text = f'processor\t: 0\nvendor_id\t: {vendor}\nflags\t\t: fpu {flags} sse\n'
    monkeypatch.setattr(Path, 'read_text', lambda self: text)
    assert cpu_is_amd_avx512() is gains
