"""Files of other hands, wrapped or damaged: they load, or a CheckpointError says why."""

import copy
import random
from pathlib import Path

import pytest
import torch

from simmim_mm.checkpoint import CheckpointError, load_backbone, load_weights
from simmim_mm.interop import convert_checkpoint, read_source
from simmim_mm.interop.export import ExportError
from simmim_mm.models.backbones import MaskedSwin

ARCH = dict(embed_dims=8, depths=[1, 1, 1, 1], num_heads=[1, 2, 4, 8])


@pytest.fixture(scope='module')
def weights() -> dict:
    timm = pytest.importorskip('timm')
    torch.manual_seed(0)
    sizes = dict(embed_dim=8, depths=(1,) * 4, num_heads=(1, 2, 4, 8), num_classes=0)
    return timm.create_model('swin_tiny_patch4_window7_224', **sizes).state_dict()


def native(path: Path) -> dict:
    state = load_weights(path)['state_dict']
    return {k: v for k, v in state.items() if k.startswith('backbone.')}


def behind(prefix: str, weights: dict) -> dict:
    return {prefix + name: tensor for name, tensor in weights.items()}


def zeros(weights: dict) -> dict:
    return {name: torch.zeros_like(tensor) for name, tensor in weights.items()}


WRAPPED = {
    'prefix module': lambda w: dict(state_dict=behind('module.', w)),
    'prefix model': lambda w: behind('model.', w),
    'prefixes of two wrappers': lambda w: dict(model=behind('_orig_mod.module.', w)),
    'a name of ours': lambda w: behind('module.encoder.', w),
    'model_state_dict': lambda w: dict(model_state_dict=w, optimizer={'state': {}}),
    'teacher': lambda w: dict(student=behind('module.', zeros(w)), teacher=behind('module.', w)),
    'teacher beside student': lambda w: {
        **behind('student.backbone.', zeros(w)),
        **behind('teacher.backbone.', w),
    },
    'nested': lambda w: dict(net=dict(ema=w)),
    'averaged': lambda w: dict(state_dict=w, state_dict_ema=zeros(w)),
}


@pytest.mark.parametrize('kind', WRAPPED)
def test_what_wrappers_put_around_weights_is_taken_off_and_said(tmp_path, weights, kind):
    torch.save(weights, tmp_path / 'plain.pth')
    torch.save(WRAPPED[kind](weights), tmp_path / 'wrapped.pth')
    convert_checkpoint(tmp_path / 'plain.pth', tmp_path / 'a.pth')
    _, _, report = convert_checkpoint(tmp_path / 'wrapped.pth', tmp_path / 'b.pth')
    expected, got = native(tmp_path / 'a.pth'), native(tmp_path / 'b.pth')
    assert expected.keys() == got.keys()
    assert all(torch.equal(expected[name], got[name]) for name in expected)
    if 'prefix' in kind:
        assert 'taken off' in str(report)
    if kind in ('teacher', 'teacher beside student'):
        assert 'teacher' in str(report) and 'not student' in str(report)
    if kind == 'averaged':
        assert 'state_dict taken, not state_dict_ema' in str(report)


def test_the_other_weights_can_be_asked_for(tmp_path, weights):
    torch.save(dict(student=zeros(weights), teacher=weights), tmp_path / 'x.pth')
    convert_checkpoint(tmp_path / 'x.pth', tmp_path / 'y.pth', entry='student')
    assert not any(v.any() for v in native(tmp_path / 'y.pth').values() if v.is_floating_point())
    with pytest.raises(CheckpointError, match=r"'ema': choose from teacher, student"):
        convert_checkpoint(tmp_path / 'x.pth', tmp_path / 'z.pth', entry='ema')


@pytest.mark.parametrize('prefix', [None, 'backbone.'])
@pytest.mark.parametrize('wrapper', ['module.', 'teacher.module.', '_orig_mod.'])
def test_a_backbone_loads_from_wrapped_weights(tmp_path, prefix, wrapper):
    model, other = MaskedSwin(ARCH), MaskedSwin(ARCH)
    state = behind(f'{wrapper}backbone.', other.state_dict())
    torch.save(dict(model_state_dict=state), tmp_path / 'w.pth')
    report = load_backbone(model, tmp_path / 'w.pth', prefix)
    assert f"prefix '{wrapper}backbone.'" in str(report) and not report.missing
    assert all(map(torch.equal, model.state_dict().values(), other.state_dict().values()))


# ---- damage ----
def damaged(data: bytes, rng: random.Random) -> bytes:
    """A few bytes flipped, overwritten, cut out or put in, mostly at the ends: pickles, tables."""
    damaged = bytearray(data)
    for _ in range(rng.randint(1, 3)):
        size = len(damaged)
        i = rng.choice(
            [
                rng.randrange(min(size, 6000)),
                rng.randrange(size),
                size - 1 - rng.randrange(min(size, 3000)),
            ]
        )
        match rng.randrange(6):
            case 0:
                damaged[i] ^= 1 << rng.randrange(8)
            case 1:
                damaged[i] = rng.randrange(256)
            case 2:
                del damaged[i : i + rng.randint(1, 40)]
            case 3:
                damaged[i:i] = rng.randbytes(rng.randint(1, 20))
            case 4:
                damaged[i : i + 8] = b'\xff' * 8
            case 5:
                del damaged[max(i, 1) :]
    return bytes(damaged) or b'\0'


ODD = [
    None,
    0,
    -1,
    1e30,
    float('nan'),
    'text',
    '\udcff',
    b'\xff',
    [],
    [None],
    {},
    {'cfg': 3},
    {'cfg': 'model = ('},
    {'cfg': "model = dict(backbone=dict(type='MaskedSwin', arch=3))"},
    {'img_size': 'x', 'DATA': 1},
    {None: None},
    torch.zeros(0),
    torch.zeros(3, 0, 2),
    torch.tensor(1.0),
    torch.zeros(2, dtype=torch.complex64),
    torch.tensor([True]),
]


def odd(value: dict, rng: random.Random) -> dict:
    """One or two values, at any depth, replaced, renamed or left out."""
    value = copy.deepcopy(value)
    for _ in range(rng.randint(1, 2)):
        parent = value
        while True:
            key = rng.choice(list(parent))
            if not (isinstance(parent[key], dict) and parent[key] and rng.random() < 0.7):
                break
            parent = parent[key]
        old = parent.pop(key)
        match rng.randrange(3):
            case 0:
                parent[rng.choice([f'{key}.x', 3, '', ('a',)])] = old
            case 1 | 2:
                parent[key] = rng.choice(ODD)
        if not parent:
            break
    return value


def attempt(path: Path, out: Path, model: MaskedSwin) -> int:
    """All readers; the number of those that took the file."""
    taken = 0
    for read in (
        lambda: load_weights(path),
        lambda: convert_checkpoint(path, out, overwrite=True),
        lambda: read_source(path),
        lambda: load_backbone(model, path),
    ):
        try:
            read()
            taken += 1
        except (CheckpointError, ExportError) as error:
            assert path.name in str(error)
    return taken


@pytest.fixture(scope='module')
def stored(weights) -> dict:
    model = "model = dict(backbone=dict(type='MaskedSwin', arch='tiny'))"
    return dict(
        model=dict(weights),
        epoch=3,
        config=dict(DATA=dict(IMG_SIZE=56), MODEL=dict(SWIN=dict(WINDOW_SIZE=7))),
        args=dict(img_size=56),
        meta=dict(cfg=model),
        optimizer=dict(state={0: dict(exp_avg=torch.zeros(3))}, param_groups=[dict(lr=1.0)]),
    )


@pytest.mark.parametrize('form', ['zip', 'legacy', 'safetensors'])
def test_a_damaged_file_is_read_or_refused(tmp_path, stored, form):
    path = tmp_path / 'damaged.pth'
    if form == 'safetensors':
        path = tmp_path / 'damaged.safetensors'
        save_file = pytest.importorskip('safetensors.torch').save_file
        save_file({k: v.contiguous() for k, v in stored['model'].items()}, path)
    else:
        torch.save(stored, path, _use_new_zipfile_serialization=form == 'zip')
    model, data = MaskedSwin(ARCH), path.read_bytes()
    taken = []
    for seed in range(150):
        path.write_bytes(damaged(data, random.Random(seed)))
        taken.append(attempt(path, tmp_path / 'out.pth', model))
    assert 0 in taken and max(taken) > 0  # some are refused by all, others taken


def test_a_file_of_odd_values_is_read_or_refused(tmp_path, stored):
    model = MaskedSwin(ARCH)
    taken = []
    for seed in range(300):
        torch.save(odd(stored, random.Random(seed)), tmp_path / 'odd.pth')
        taken.append(attempt(tmp_path / 'odd.pth', tmp_path / 'out.pth', model))
    assert 0 in taken and max(taken) > 0
