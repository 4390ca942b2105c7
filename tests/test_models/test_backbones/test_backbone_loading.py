"""Weights of another window, image size, grid or number of channels, in every way of loading."""

import logging
import re

import pytest
import torch
from masked_backbone_suite import scramble
from mmengine.logging import MMLogger
from mmengine.runner import load_checkpoint
from mmpretrain.models.backbones import VAN, SwinTransformer
from torch.testing import assert_close

from simmim_mm.checkpoint import CheckpointError, resize_position_bias
from simmim_mm.checkpoint.fit_weights import fit_channels
from simmim_mm.checkpoint.load_backbone import load_backbone
from simmim_mm.models.backbones import (
    MaskedBEiT,
    MaskedConvNeXt,
    MaskedConvViT,
    MaskedResNet,
    MaskedSwin,
    MaskedSwinV2,
    MaskedViT,
)
from simmim_mm.models.backbones.masked_adapter import masked_class

SWIN = dict(arch=dict(embed_dims=8, depths=[2, 2], num_heads=[1, 2]), patch_size=2)
SWIN = dict(SWIN, img_size=32, window_size=4, out_indices=(1,))
VIT = dict(arch=dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=32))
VIT = dict(VIT, img_size=32, patch_size=8)
CONV = dict(arch=dict(embed_dims=(4, 8, 16), depths=(1, 1, 2), num_heads=2, mlp_ratios=(2, 2, 2)))
CONV = dict(CONV, img_size=32, patch_sizes=(2, 2, 2))
RESNET = dict(depth=18, stem_channels=8, base_channels=8)
CONVNEXT = dict(arch=dict(depths=[1, 1, 2, 1], channels=[8, 12, 16, 24]))
VAN_ARCH = dict(arch=dict(embed_dims=[8] * 4, depths=[1] * 4, ffn_ratios=[2] * 4))
CLASSES = {
    'swin': (MaskedSwin, SWIN),
    'swinv2': (
        MaskedSwinV2,
        dict(SWIN, arch=dict(SWIN['arch'], extra_norm_every_n_blocks=0)),
    ),
    'vit': (MaskedViT, VIT),
    'gather': (MaskedViT, dict(VIT, mask_mode='gather')),
    'beit': (MaskedBEiT, VIT),
    'convvit': (MaskedConvViT, CONV),
    'resnet': (MaskedResNet, RESNET),
    'deep stem': (MaskedResNet, dict(RESNET, deep_stem=True)),
    'convnext': (MaskedConvNeXt, CONVNEXT),
    "mmpretrain's VAN": (masked_class(VAN), VAN_ARCH),
    "mmpretrain's Swin": (masked_class(SwinTransformer), SWIN),
}


def build(name: str, seed: int = 0, **changes) -> torch.nn.Module:
    cls, kwargs = CLASSES[name]
    return scramble(cls(**{**kwargs, **changes}), seed).eval()


def images(h: int, w: int, channels: int = 3) -> torch.Tensor:
    return torch.randn(2, channels, h, w, generator=torch.Generator().manual_seed(1))


def save(model: torch.nn.Module, path, prefix: str = 'backbone.', **others) -> str:
    state = {prefix + key: value for key, value in model.state_dict().items()}
    torch.save(dict(state_dict={**state, **others}), path)
    return str(path)


def load(how: str, name: str, file: str, **changes) -> torch.nn.Module:
    """A model of other weights, then those of the file."""
    if how == 'init_cfg':
        init_cfg = dict(type='Pretrained', checkpoint=file, prefix='backbone.')
        model = build(name, seed=7, init_cfg=init_cfg, **changes)
        model.init_weights()
        return model.eval()
    whole = torch.nn.Module()
    whole.backbone = build(name, seed=7, **changes)
    if how == 'load_from':
        load_checkpoint(whole, file, strict=True)
    else:
        whole.load_state_dict(torch.load(file, weights_only=True)['state_dict'])
    return whole.backbone


WAYS = pytest.mark.parametrize('how', ['init_cfg', 'load_from', 'load_state_dict'])


@WAYS
@pytest.mark.parametrize('name', CLASSES)
def test_same_size_gives_the_same_features(name, how, tmp_path):
    old = build(name)
    new = load(how, name, save(old, tmp_path / 'old.pth'))
    for a, b in zip(old(images(32, 32)), new(images(32, 32))):
        assert torch.equal(a, b)


@WAYS
@pytest.mark.parametrize('name', ['vit', 'gather', 'convvit'])
@pytest.mark.parametrize('size', [(48, 48), (32, 64)])
def test_another_size_gives_the_features_of_the_old_model_there(name, how, size, tmp_path):
    # which interpolates its position embedding in the forward
    old = build(name)
    new = load(how, name, save(old, tmp_path / 'old.pth'), img_size=size)
    assert new.pos_embed.shape != old.pos_embed.shape
    assert_close(new(images(*size))[-1], old(images(*size))[-1])


@pytest.mark.parametrize('name', ['vit', 'beit'])
def test_oblong_grids_are_told_by_the_proportions(name, tmp_path):
    changes = dict(use_abs_pos_emb=True) if name == 'beit' else {}
    old = build(name, img_size=(16, 32), **changes)
    new = load('init_cfg', name, save(old, tmp_path / 'a.pth'), img_size=(32, 64), **changes)
    grid = old.pos_embed[:, 1:].view(1, 2, 4, 16).permute(0, 3, 1, 2)
    expected = torch.nn.functional.interpolate(grid, size=(4, 8), mode='bicubic')
    assert_close(new.pos_embed[0, 1:], expected.flatten(2)[0].T)
    assert torch.equal(new.pos_embed[:, :1], old.pos_embed[:, :1])
    if name == 'beit':
        table = 'rel_pos_bias.relative_position_bias_table'
        bias = resize_position_bias(old.state_dict()[table], (4, 8), 3, source=(2, 4))
        assert_close(new.state_dict()[table], bias)
    with pytest.raises(CheckpointError, match=r'neither a square grid nor|have other shapes'):
        load('init_cfg', name, str(tmp_path / 'a.pth'), img_size=48, **changes)


@WAYS
def test_swin_tables_are_resized_and_index_tables_are_not_loaded(how, tmp_path):
    old = build('swin')
    new = load(how, 'swin', save(old, tmp_path / 'old.pth'), img_size=48, window_size=6)
    for key, table in old.state_dict().items():
        if key.endswith('relative_position_bias_table'):
            assert_close(new.state_dict()[key], resize_position_bias(table, (6, 6)))
    fresh = MaskedSwin(**{**SWIN, 'img_size': 48, 'window_size': 6})
    for key, index in fresh.state_dict().items():
        if key.endswith('relative_position_index'):
            assert torch.equal(new.state_dict()[key], index)


@WAYS
@pytest.mark.parametrize('size', [(48, 48), (32, 64)])
def test_beit_tables_are_resized_and_copied_to_the_blocks(how, size, tmp_path):
    file = save(build('beit'), tmp_path / 'old.pth')
    changes = dict(img_size=size, use_rel_pos_bias=True, use_shared_rel_pos_bias=False)
    new = load(how, 'beit', file, **changes)
    shared = build('beit').state_dict()['rel_pos_bias.relative_position_bias_table']
    expected = resize_position_bias(shared, (size[0] // 8, size[1] // 8), 3)
    for layer in new.layers:
        assert_close(layer.attn.relative_position_bias_table.data, expected)
    with_one = load(how, 'beit', file, img_size=size)
    assert_close(new(images(*size))[-1], with_one(images(*size))[-1])


def test_swin_v2_measures_in_the_windows_of_its_pretraining(tmp_path):
    file = save(build('swinv2'), tmp_path / 'old.pth')
    changes = dict(img_size=64, window_size=8)
    told = load('init_cfg', 'swinv2', file, pretrained_window_sizes=[4, 4], **changes)
    found = load('init_cfg', 'swinv2', file, **changes)
    untold = build('swinv2', **changes)
    x = images(64, 64)
    assert_close(found(x)[-1], told(x)[-1], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(found(x)[-1], untold(x)[-1], atol=1e-3)
    # and again from what was loaded so
    again = load('init_cfg', 'swinv2', save(found, tmp_path / 'new.pth'))
    assert_close(again(images(32, 32))[-1], build('swinv2')(images(32, 32))[-1])


@WAYS
@pytest.mark.parametrize('name', CLASSES)
def test_gray_images_in_other_numbers_of_channels(name, how, tmp_path):
    old = build(name)
    file = save(old, tmp_path / 'old.pth')
    gray = images(32, 32, channels=1)
    expected = old(gray.expand(-1, 3, -1, -1))[-1]
    for channels in (1, 6):
        new = load(how, name, file, in_channels=channels)
        assert_close(new(gray.expand(-1, channels, -1, -1))[-1], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('channels', [1, 2, 4, 5])
def test_channels_as_timm_has_them(channels):
    adapt = pytest.importorskip('timm.models').adapt_input_conv
    kernel = torch.randn(4, 3, 2, 2)
    assert_close(fit_channels(kernel, channels), adapt(channels, kernel))


def test_class_token_that_the_model_has_not(tmp_path):
    old = build('vit')
    file = save(old, tmp_path / 'old.pth')
    new = load('init_cfg', 'vit', file, with_cls_token=False, img_size=48)
    larger = load('init_cfg', 'vit', file, img_size=48)
    assert_close(new.pos_embed, larger.pos_embed[:, 1:])


# ---- the report ----
@pytest.mark.parametrize('name', CLASSES)
def test_every_family_reports_and_refuses(name, tmp_path, log):
    file = save(build(name), tmp_path / 'old.pth', **{'neck.weight': torch.zeros(3)})
    load('init_cfg', name, file)
    (text,) = [line for line in log if 'weights loaded from' in line]
    assert 'old.pth' in text and "prefix 'backbone.'" in text and '1 others' in text
    other = save(torch.nn.Linear(3, 3), tmp_path / 'other.pth')
    with pytest.raises(CheckpointError, match=r'other\.pth has no weights of'):
        load('init_cfg', name, other)


@pytest.fixture
def log(monkeypatch):
    lines = []
    logger = MMLogger.get_instance('test_loading')
    monkeypatch.setattr(logger, 'handle', lambda record: lines.append(record.getMessage()))
    logger.setLevel(logging.INFO)
    return lines


def test_report_of_every_entry(tmp_path, log):
    others = {'neck.decoder.0.weight': torch.zeros(3), 'backbone.extra': torch.zeros(1)}
    old = build('swin')
    del old.mask_token
    file = save(old, tmp_path / 'old.pth', **others)
    model = build('swin', seed=7, window_size=2, out_indices=(0, 1))
    before = model.norm0.weight.clone()
    report = load_backbone(model, file, 'backbone.')
    assert sorted(report.missing) == ['mask_token', 'norm0.bias', 'norm0.weight']
    assert report.unexpected == ['extra'] and report.outside == 1
    assert len(report.resized) == 4 and (49, 1) in next(iter(report.resized.values()))
    parameters = {name for name, _ in model.named_parameters()}
    assert parameters == {*report.matched, *report.resized, *report.missing}
    assert torch.equal(model.norm0.weight, before)
    (text,) = log
    parts = ['old.pth', "prefix 'backbone.'", '4 resized', '(49, 1) to (9, 1)', '2 missing']
    parts += ['norm0.weight', 'no mask token in the file', '1 unexpected', '1 others']
    for part in parts:
        assert part in text, text


def test_what_is_missing_is_initialized_and_the_rest_loaded(tmp_path):
    old = build('swin')
    del old.mask_token
    new = load('init_cfg', 'swin', save(old, tmp_path / 'a.pth'), out_indices=(0, 1))
    assert torch.equal(new.norm0.weight, torch.ones(8))
    assert 0 < new.mask_token.abs().max() < 0.2
    assert torch.equal(new.norm1.weight, old.norm1.weight)


@pytest.mark.parametrize('prefix', ['backbone.', '', 'model.backbone.'])
def test_prefix_is_found_if_none_is_given(prefix, tmp_path):
    old = build('vit')
    file = save(old, tmp_path / 'old.pth', prefix, **{'neck.ln1.weight': torch.zeros(16)})
    new = build('vit', seed=7, init_cfg=dict(type='Pretrained', checkpoint=file))
    new.init_weights()
    assert torch.equal(new(images(32, 32))[-1], old(images(32, 32))[-1])


@pytest.mark.parametrize(
    ('written', 'given', 'fix'),
    [
        ('', 'backbone.', 'Leave prefix out'),
        ('backbone.', 'encoder', r"Write prefix='backbone\.'"),
    ],
)
def test_wrong_prefix_is_corrected(written, given, fix, tmp_path):
    file = save(build('vit'), tmp_path / 'old.pth', written)
    with pytest.raises(CheckpointError, match=rf'old\.pth.*{fix}'):
        load_backbone(build('vit'), file, given)


@pytest.mark.parametrize(
    ('stored', 'changes', 'message'),
    [
        ('vit', {}, r'no weights of MaskedSwin|not of this MaskedSwin'),
        (
            'swin',
            dict(arch=dict(SWIN['arch'], embed_dims=16)),
            r'mask_token with \(1, 1, 16\).*arch',
        ),
        ('swin', dict(arch=dict(SWIN['arch'], depths=[2, 3])), r'stages\.1\.blocks\.2.*arch'),
        ('swin', dict(arch=dict(SWIN['arch'], depths=[2, 1])), r'stages\.1\.blocks\.1.*arch'),
        ('swin', dict(patch_size=4), r'patches of 4 pixels'),
        ('swin', dict(arch=dict(SWIN['arch'], num_heads=[2, 2])), r'bias_table with \(49, 2\)'),
        ('swinv2', {}, r'not of this MaskedSwin'),
        ('convvit', {}, r'no weights of MaskedSwin|not of this MaskedSwin'),
    ],
)
def test_another_architecture_is_one_clear_error(stored, changes, message, tmp_path):
    file = save(build(stored, **changes), tmp_path / 'old.pth')
    with pytest.raises(CheckpointError, match=r'old\.pth') as error:
        load('init_cfg', 'swin', file)
    assert re.search(message, str(error.value)), str(error.value)


def test_weights_of_other_code_point_to_the_converter(tmp_path):
    torch.save({'encoder.layers.0.qkv.w': torch.zeros(2)}, tmp_path / 'a.pth')
    with pytest.raises(CheckpointError, match=r'encoder\.layers\.0\.qkv\.w.*simmim convert'):
        load_backbone(build('swin'), str(tmp_path / 'a.pth'))


def test_addresses(tmp_path, monkeypatch):
    from http.server import BaseHTTPRequestHandler, HTTPServer
    from threading import Thread

    old = build('vit')
    file = tmp_path / 'a file.pth'
    save(old, file)
    content = file.read_bytes()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200 if 'old' in self.path else 404)
            self.send_header('Content-Length', str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *args):
            pass

    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'cache'))
    server = HTTPServer(('localhost', 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    web = f'http://localhost:{server.server_port}'
    try:
        for address in (file.as_uri(), f'{web}/old.pth'):
            report = load_backbone(build('vit', seed=7), address, 'backbone.')
            assert not report.missing
        with pytest.raises(CheckpointError, match=r'cannot be downloaded.*404'):
            load_backbone(build('vit'), f'{web}/nothing.pth')
    finally:
        server.shutdown()
        server.server_close()
        server.server_close()
    load_backbone(build('vit'), f'{web}/old.pth')  # kept
    with pytest.raises(CheckpointError, match='download it first'):
        load_backbone(build('vit'), 's3://bucket/old.pth')


@pytest.mark.parametrize('name', ['vit', 'resnet', 'convnext', "mmpretrain's VAN"])
def test_code_in_the_file_does_not_run(name, tmp_path):
    class Attack:
        def __reduce__(self):
            return (exec, (f'open({str(tmp_path / "ran")!r}, "w")',))

    torch.save(dict(state_dict=build(name).state_dict(), x=Attack()), tmp_path / 'evil.pth')
    init_cfg = dict(type='Pretrained', checkpoint=str(tmp_path / 'evil.pth'))
    with pytest.raises(CheckpointError, match=r'evil\.pth is refused'):
        build(name, init_cfg=init_cfg).init_weights()
    assert not (tmp_path / 'ran').exists()


class _OldTorch(MaskedSwin):
    """Initialized as by a ``trunc_normal_`` that gives its bound itself, as PyTorch's did."""

    def reset_weights(self) -> None:
        super().reset_weights()
        with torch.no_grad():
            self.stages[0].blocks[0].ffn.layers[1].weight[3, 5] = 2.0
            self.patch_embed.projection.weight[0, 0, 0, 0] = -2.0


def test_no_initial_weight_is_a_hundred_sigma():
    model = _OldTorch(dict(embed_dims=12, depths=[1, 1, 1, 1], num_heads=[1, 2, 3, 4]), 64)
    model.init_weights()
    assert max(p.abs().max() for p in model.parameters() if p.ndim > 1) < 1
