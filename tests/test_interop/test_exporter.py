"""From a checkpoint file to another library's file, in one call."""

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))
import export_toys as toys

from simmim_mm.checkpoint import load_weights
from simmim_mm.interop import ExportError, export_checkpoint


@pytest.fixture
def checkpoint(tmp_path):
    return toys.save(tmp_path / 'swin.pth', 'MaskedSwin')


def test_report_says_what_was_written_and_how_to_use_it(checkpoint, tmp_path):
    out = tmp_path / 'new' / 'mmpretrain.pth'
    report = export_checkpoint(checkpoint, 'mmpretrain', out, window=6, img_size=192, verify=True)
    assert report.export.size == (192, 192) and report.verification.difference < 1e-5
    lines = str(report).splitlines()
    assert lines[0] == f'{checkpoint}: MaskedSwin, for images of 192x192 pixels'
    assert lines[1].startswith("verified: mmpretrain's own SwinTransformer gives the same features")
    assert lines[2] == f'wrote {out}' and report.snippet in str(report)
    assert any(line.startswith('- Resized: stages.0') for line in lines)
    state = load_weights(out)['state_dict']
    for name, tensor in report.export.state_dict.items():
        assert torch.equal(state[f'backbone.{name}'], tensor), name


def test_what_starts_fresh_is_named_once_with_its_reason(checkpoint, tmp_path):
    report = export_checkpoint(checkpoint, 'mmseg', tmp_path / 'a.safetensors')
    assert report.verification is None
    text = str(report)
    assert text.count('- Starts fresh: norm0.*, norm1.*, norm2.*: pretraining normalizes') == 1
    assert 'init_cfg reads .pth only' in text


def test_image_sizes_and_files_that_are_there(checkpoint, tmp_path):
    out = tmp_path / 'a.pth'
    report = export_checkpoint(checkpoint, 'mmdet', out, img_size=(128, 192))
    assert report.export.size == (128, 192)
    with pytest.raises(ExportError, match='--force'):
        export_checkpoint(checkpoint, 'mmdet', out)
    export_checkpoint(checkpoint, 'mmdet', out, img_size=[128], overwrite=True)
    with pytest.raises(ValueError, match='got 3 numbers'):
        export_checkpoint(checkpoint, 'mmdet', out, img_size=(1, 2, 3))
