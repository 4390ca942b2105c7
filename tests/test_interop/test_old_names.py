"""What simmim_mm.convert and simmim_mm.export offered in version 0.1 is still there."""

import importlib
import json
import sys
import warnings
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))
import export_toys as toys

from simmim_mm import _renamed

NAMES = json.loads(
    (Path(__file__).parents[1] / 'fixtures' / 'v0_1' / 'public_names.json').read_text()
)
MODULES = [name for name in NAMES if name.split('.')[1:2] in (['convert'], ['export'])]


@pytest.mark.parametrize('name', MODULES)
def test_every_name_resolves(name):
    module = importlib.import_module(name)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', FutureWarning)
        for attribute in NAMES[name]:
            assert getattr(module, attribute) is not None, attribute


def test_names_of_one_module_are_not_those_of_another(monkeypatch):
    monkeypatch.setattr(_renamed, '_warned', set())
    from simmim_mm.interop import beit, registry, swin, vit

    timm = importlib.import_module('simmim_mm.convert.timm')
    with pytest.warns(FutureWarning, match=r'convert\.timm\.SWIN is now .*swin\.TIMM'):
        assert timm.SWIN is swin.TIMM
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', FutureWarning)
        assert timm.BEIT is beit.TIMM and timm.FAMILIES is registry.TIMM
        export = importlib.import_module('simmim_mm.export.to_timm')
        assert export.swin is swin.swin_to_timm and export.vit is vit.vit_to_timm
        pairs = importlib.import_module('simmim_mm.export.pairs')
        assert list(pairs.FAMILIES) == list(toys.FAMILIES)


def test_arguments_and_attributes(monkeypatch, tmp_path):
    monkeypatch.setattr(_renamed, '_warned', set())
    from simmim_mm.interop import Rule, export_backbone, read_source

    with pytest.warns(FutureWarning) as warned:
        rule = Rule(theirs='a.{i}', ours='b.{i}', to_ours=torch.neg, to_theirs=torch.neg)
    assert rule == Rule('a.{i}', 'b.{i}', torch.neg, torch.neg)
    assert any(str(w.message).startswith('Rule(theirs=...) is now source=') for w in warned)
    export = export_backbone(read_source(toys.save(tmp_path / 'a.pth', 'MaskedViT')), 'timm')
    with pytest.warns(FutureWarning, match='Export.backbone'):
        assert export.ours is export.backbone
