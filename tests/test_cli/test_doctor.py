"""What `simmim doctor` finds."""

import shutil
from collections import namedtuple

import pytest
import torch

from simmim_mm import _stack, processor
from simmim_mm.cli import doctor, main


def finding(findings, name):
    return next(found for found in findings if found.name == name)


def test_everything_is_in_a_short_table(capsys):
    main(['doctor'])
    text = capsys.readouterr().out
    assert torch.__version__.split('+')[0] in text
    for word in ('Installed', 'deploy', 'mmcv operators', 'bfloat16', 'memory', 'disk'):
        assert word in text
    assert len(text.splitlines()) < 45 and max(map(len, text.splitlines())) <= 160


def test_missing_parts_are_named_with_their_extra(monkeypatch):
    version = _stack.installed_version
    absent = {'onnx', 'pydicom', 'imagecodecs'}
    monkeypatch.setattr(_stack, 'installed_version', lambda n: None if n in absent else version(n))
    found = doctor.optional()
    assert finding(found, 'deploy').value.startswith('missing: onnx')
    assert finding(found, 'formats').value == 'missing: imagecodecs, pydicom'
    assert finding(found, 'formats').advice == "pip install '.[formats]'"


def test_versions_other_than_the_verified_are_shown(monkeypatch):
    monkeypatch.setattr(_stack, 'installed_version', lambda name: '2.0.1+cpu')
    assert finding(doctor.installed(), 'torch').value == '2.0.1+cpu (verified: 2.14.1)'


@pytest.mark.parametrize('flags, able', [('avx2 fma', False), ('avx512_bf16 avx512_vnni', True)])
def test_abilities_of_the_processor(flags, able, monkeypatch):
    monkeypatch.setattr(processor, 'cpu_flags', lambda: frozenset(flags.split()))
    found = doctor.machine('.')
    for name in ('bfloat16', 'int8 (VNNI)'):
        assert finding(found, name).value.startswith('yes' if able else 'no')
        assert bool(finding(found, name).advice) is not able


def test_little_room_is_advised_on(monkeypatch):
    usage = namedtuple('usage', 'total used free')
    monkeypatch.setattr(shutil, 'disk_usage', lambda path: usage(64 * 2**20, 0, 2**20))
    found = doctor.machine('.')
    assert '--shm-size' in finding(found, 'shared memory').advice
    assert 'make room' in finding(found, 'disk').advice
