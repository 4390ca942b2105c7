import argparse
import io
import pickle
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.logging import HistoryBuffer

from simmim_mm.checkpoint import NotWeights, UnsafeCheckpoint, find_state_dict, load_weights
from simmim_mm.checkpoint.safe_load import plain_dict

WEIGHTS = {'a.weight': torch.arange(6.0).view(2, 3), 'a.bias': torch.tensor([1.0, -2.0])}


class Attack:
    """Unpickling it creates a file."""

    def __init__(self, how: str, sentinel: Path) -> None:
        self.how, self.code = how, f'open({str(sentinel)!r}, "w").close()'
        self.command = f'touch {sentinel}'

    def __reduce__(self):
        import builtins
        import os

        return {
            'system': (os.system, (self.command,)),
            'exec': (builtins.exec, (self.code,)),
            'eval': (builtins.eval, (self.code,)),
            # reaches exec through the getattr that honest mmengine files name
            'getattr': (getattr, (Attack('exec', self.command), 'x')),
        }[self.how]


def write(value, path: Path, form: str) -> Path:
    if form == 'zip':
        torch.save(value, path)
    elif form == 'legacy':
        torch.save(value, path, _use_new_zipfile_serialization=False)
    else:
        path.write_bytes(pickle.dumps(value, protocol=int(form[-1])))
    return path


@pytest.mark.parametrize('form', ['zip', 'legacy', 'pickle0', 'pickle2', 'pickle4'])
@pytest.mark.parametrize('how', ['system', 'exec', 'eval', 'getattr'])
@pytest.mark.parametrize('nested', [False, True])
def test_code_in_a_pickle_is_refused_and_does_not_run(tmp_path, form, how, nested):
    sentinel = tmp_path / 'ran'
    attack = Attack(how, sentinel)
    value = {'model': dict(WEIGHTS), 'config': {'x': [1, (attack,)]}} if nested else attack
    path = write(value, tmp_path / 'evil.pth', form)
    with pytest.raises(UnsafeCheckpoint, match=r'evil\.pth.*(system|exec|eval)'):
        load_weights(path)
    assert not sentinel.exists()


def test_the_attack_would_work_on_a_plain_load(tmp_path):
    # Otherwise the test above proves nothing.
    write(Attack('exec', tmp_path / 'ran'), tmp_path / 'evil.pth', 'zip')
    torch.load(tmp_path / 'evil.pth', weights_only=False)
    assert (tmp_path / 'ran').exists()


@pytest.mark.parametrize('form', ['zip', 'legacy'])
def test_configs_and_arguments_beside_the_weights_are_read_as_data(tmp_path, form, monkeypatch):
    # yacs need not be installed: its class is made here and gone when the file is read.
    yacs, config = types.ModuleType('yacs'), types.ModuleType('yacs.config')

    class CfgNode(dict):
        pass

    CfgNode.__module__, CfgNode.__qualname__ = 'yacs.config', 'CfgNode'
    config.CfgNode = CfgNode
    monkeypatch.setitem(sys.modules, 'yacs', yacs)
    monkeypatch.setitem(sys.modules, 'yacs.config', config)
    node = CfgNode(DATA=CfgNode(IMG_SIZE=192))
    node.__dict__['__immutable__'] = True
    value = {
        'model': WEIGHTS,
        'config': node,
        'args': argparse.Namespace(norm_pix_loss=True, output_dir=Path('/tmp')),
        'meta': {'cfg': 'model = 1', 'hooks': ConfigDict(a=ConfigDict(b=2))},
        'message_hub': {'loss': HistoryBuffer([0.5, 0.25], [1, 1])},
        'best': np.float64(0.5),
        'array': np.arange(3),
    }
    path = write(value, tmp_path / 'x.pth', form)
    monkeypatch.delitem(sys.modules, 'yacs.config')

    loaded = load_weights(path)
    for name, tensor in WEIGHTS.items():
        assert torch.equal(find_state_dict(loaded)[name], tensor)
    assert plain_dict(loaded['config'])['DATA']['IMG_SIZE'] == 192
    assert plain_dict(loaded['args'])['norm_pix_loss'] is True
    assert loaded['meta']['cfg'] == 'model = 1'
    assert loaded['meta']['hooks']['a']['b'] == 2


@pytest.mark.parametrize(
    ('content', 'hint'),
    [
        (b'', 'empty'),
        (b'checkpoint\nof nothing\n', 'text'),
        (b'<!DOCTYPE html><html>404</html>', 'web page'),
        (b'\x89PNG\r\n\x1a\n' + bytes(64), 'image'),
        (bytes(range(256)), 'unknown'),
        (b'version https://git-lfs.github.com/spec/v1\noid sha256:0\n', 'git-lfs'),
    ],
)
def test_files_that_are_not_weights_are_named_for_what_they_are(tmp_path, content, hint):
    path = tmp_path / 'w.pth'
    path.write_bytes(content)
    with pytest.raises(NotWeights, match=rf'w\.pth.*{hint}'):
        load_weights(path)


@pytest.mark.parametrize('form', ['zip', 'legacy'])
def test_truncated_download_is_refused(tmp_path, form):
    buffer = write({'x': torch.rand(100, 100)}, tmp_path / 'w.pth', form).read_bytes()
    (tmp_path / 'w.pth').write_bytes(buffer[: len(buffer) // 2])
    with pytest.raises(NotWeights, match=r'w\.pth'):
        load_weights(tmp_path / 'w.pth')


@pytest.mark.parametrize('value', [{}, {'epoch': 3, 'model': {}}, [1, 2], torch.zeros(2)])
def test_checkpoint_without_named_tensors_is_refused(tmp_path, value):
    torch.save(value, tmp_path / 'w.pth')
    with pytest.raises(NotWeights, match=r'w\.pth'):
        load_weights(tmp_path / 'w.pth')


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'nowhere\.pth'):
        load_weights(tmp_path / 'nowhere.pth')


def test_safetensors(tmp_path):
    save_file = pytest.importorskip('safetensors.torch').save_file
    save_file(WEIGHTS, tmp_path / 'w.safetensors')
    assert torch.equal(load_weights(tmp_path / 'w.safetensors')['a.bias'], WEIGHTS['a.bias'])
    (tmp_path / 'w.safetensors').write_bytes(b'nothing of the kind')
    with pytest.raises(NotWeights):
        load_weights(tmp_path / 'w.safetensors')


def test_torchscript_archive_is_refused(tmp_path):
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.trace(torch.nn.Linear(2, 2), torch.zeros(1, 2)), buffer)
    (tmp_path / 'w.pt').write_bytes(buffer.getvalue())
    with pytest.raises((NotWeights, UnsafeCheckpoint)):
        load_weights(tmp_path / 'w.pt')
