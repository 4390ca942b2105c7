"""Every pair of backbone and library, by the library's own model."""

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))
import export_matrix
import export_toys as toys

from simmim_mm.checkpoint import resize_position_bias
from simmim_mm.interop import (
    TARGETS,
    ExportError,
    export_backbone,
    read_source,
    supports,
    verify,
    write_export,
)
from simmim_mm.interop.libraries import features, snippet

IMPORTS = dict(mmdet='mmdet', mmseg='mmseg', timm='timm', mmpretrain='mmpretrain')
PAIRS = [(f, t) for f in toys.FAMILIES for t in TARGETS if supports(f, t)]


def need(target: str, request) -> None:
    if target == 'huggingface':
        request.getfixturevalue('transformers')
    else:
        pytest.importorskip(IMPORTS[target], exc_type=ImportError)


@pytest.fixture(scope='module')
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp('toys')

    def get(family: str, **changes):
        name = f'{family}-{len(list(folder.iterdir()))}.pth'
        return read_source(toys.save(folder / name, family, **changes))

    return get


@pytest.mark.parametrize(('family', 'target'), PAIRS)
def test_features_agree_at_both_sizes(family, target, source, request):
    need(target, request)
    mine = source(family)
    for options in ({}, toys.FAMILIES[family][1]):
        export = export_backbone(mine, target, **options)
        outcome = verify(export)
        assert outcome.difference < 1e-5
        # what is compared is a backbone of ours at that size, not the one of the checkpoint
        assert export.size == options.get('size', export.size)
        if (family, target) in (('MaskedSwin', 'mmdet'), ('MaskedSwin', 'mmseg')):
            assert len(outcome.maps) == 4


def test_the_table_in_the_documentation_is_what_verification_says(request):
    for target in TARGETS:
        need(target, request)
    assert export_matrix.parts()[1] == export_matrix.table(), (
        'run: python tests/test_interop/export_matrix.py'
    )


def test_a_wrong_weight_is_noticed(source):
    export = export_backbone(source('MaskedSwin'), 'mmpretrain')
    key = 'stages.1.blocks.1.attn.w_msa.relative_position_bias_table'
    export.state_dict[key] = export.state_dict[key].flip(0)
    with pytest.raises(ExportError, match=r'differ by .*nothing is written'):
        verify(export)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda s: s.pop('norm3.weight'), r'misses 1 of the names, such as norm3\.weight'),
        (lambda s: s.update({'head.x': torch.ones(1)}), r'does not know 1 .*head\.x'),
        (lambda s: s.update({'norm3.bias': torch.ones(3)}), r'do not fit.*norm3\.bias'),
    ],
)
def test_names_are_strict(source, change, message):
    export = export_backbone(source('MaskedSwin'), 'mmpretrain')
    change(export.state_dict)
    with pytest.raises(ExportError, match=message):
        verify(export)


@pytest.mark.parametrize('target', ['mmdet', 'mmseg', 'mmpretrain', 'timm'])
def test_clamped_windows(target, source, request):
    """64 pixels are maps of 16, 8, 4, 2: windows of 4 are clamped to 2 in the last stage."""
    need(target, request)
    mine = source('MaskedSwin', img_size=64)
    name = 'stages.3.blocks.0.attn.w_msa.relative_position_bias_table'
    assert mine.state_dict[name].shape == (9, 4)
    export = export_backbone(mine, target)
    verify(export)
    if target in ('mmdet', 'mmseg'):  # one window everywhere: small maps are padded to it
        assert export.arguments['window_size'] == 4
        expected = resize_position_bias(mine.state_dict[name], (4, 4))
        torch.testing.assert_close(export.state_dict[name], expected)
        assert any('(9, 4) to (49, 4)' in note for note in export.notes)
    if target == 'mmpretrain':
        windows = [stage['window_size'] for stage in export.arguments['stage_cfgs']]
        assert windows == [4, 4, 4, 2]


@pytest.mark.parametrize(
    ('family', 'target'),
    [('MaskedSwin', 'mmdet'), ('MaskedSwin', 'timm'), ('MaskedSwinV2', 'timm')],
)
def test_swin_of_visible_tokens_is_the_ordinary_swin(family, target, source, request):
    need(target, request)
    export = export_backbone(source(family, mask_mode='gather'), target)
    assert export.size == (128, 128) and verify(export).difference < 1e-5


def test_swin_v2_keeps_the_units_of_its_biases(source):
    """Offsets are in units of the pretraining's windows, here 4, 4, 4 and, clamped, 2."""
    export = export_backbone(source('MaskedSwinV2', img_size=64), 'mmpretrain', 8, (128, 128))
    assert export.arguments['pretrained_window_sizes'] == [4, 4, 4, 2]
    assert export.arguments['window_size'] == [8, 8, 8, 4]
    table = export.backbone.stages[0].blocks[0].attn.w_msa.relative_coords_table
    # an offset of 7 tokens, where 3 was the largest: log2(8 * 7 / 3 + 1) / log2(8)
    expected = torch.log2(torch.tensor(8 * 7 / 3 + 1)) / 3
    torch.testing.assert_close(table[0, -1, -1], expected.expand(2))
    verify(export)


def test_other_forms(source, request, transformers):
    """No class token, another MLP, other channels, height unlike width."""
    arch = dict(toys.VIT, feedforward_channels=32)
    vit = source('MaskedViT', with_cls_token=False, arch=arch, in_channels=5, img_size=(32, 48))
    for target in ('mmseg', 'timm', 'mmpretrain'):
        need(target, request)
        export = export_backbone(vit, target)
        assert verify(export).maps[-1] == (2, 16, 4, 6)
    plain = source('MaskedBEiT', layer_scale_init_value=0.0, bias=False)
    for target in ('mmseg', 'timm'):
        verify(export_backbone(plain, target))
    unscaled = source('MaskedBEiT', layer_scale_init_value=0.0)
    verify(export_backbone(unscaled, 'huggingface'))
    swin = source('MaskedSwin', img_size=(128, 256), stage_cfgs=dict(block_cfgs=dict(ffn_ratio=2)))
    for target in ('mmdet', 'mmpretrain'):
        need(target, request)
        verify(export_backbone(swin, target))


@pytest.mark.parametrize(
    ('family', 'changes', 'target', 'options', 'message'),
    [
        ('MaskedSwinV2', {}, 'mmdet', {}, r'mmdet has no Swin v2.*simmim_mm\.MaskedSwinV2.*timm'),
        ('MaskedViT', {}, 'mmdet', {}, r'mmdet has no plain ViT'),
        ('MaskedConvViT', {}, 'timm', {}, r'timm has no ConvMAE'),
        ('MaskedSwin', {}, 'keras', {}, r"one of mmpretrain, .*got 'keras'"),
        ('MaskedSwin', {}, 'mmdet', dict(window=0), r'--window must be at least 1, got 0'),
        ('MaskedViT', {}, 'timm', dict(window=7), r'MaskedViT has no windows'),
        ('MaskedViT', {}, 'timm', dict(size=(0, 8)), r'--img-size must be positive'),
        ('MaskedSwin', dict(use_abs_pos_embed=True), 'mmdet', {}, r'use_abs_pos_embed=True'),
        ('MaskedSwin', dict(patch_cfg=dict(norm_cfg=None)), 'mmseg', {}, r'patch_cfg='),
        ('MaskedSwin', dict(img_size=64), 'huggingface', {}, r'stage 4 has a map of 2x2.*--window'),
        ('MaskedSwin', {}, 'timm', dict(window=5), r'windows of 5 do not divide'),
        ('MaskedSwin', {}, 'timm', dict(size=(128, 256)), r'stage 4 .*4x8.*square'),
        ('MaskedBEiT', {}, 'mmseg', dict(size=(32, 48)), r'square images only'),
        ('MaskedBEiT', dict(bias=True), 'timm', {}, r'queries and values only'),
        ('MaskedBEiT', dict(final_norm=False), 'timm', {}, r'no norm of the last block'),
        ('MaskedBEiT', dict(use_abs_pos_emb=True), 'mmseg', {}, r'relative position biases only'),
        ('MaskedViT', dict(with_cls_token=False), 'huggingface', {}, r'has a class token'),
        ('MaskedViT', dict(qkv_bias=False), 'mmseg', {}, r'qkv_bias'),
        ('MaskedViT', dict(pre_norm=True), 'timm', {}, r'pre_norm=True'),
    ],
)
def test_what_a_library_cannot_hold_is_refused(source, family, changes, target, options, message):
    with pytest.raises(ExportError, match=message):
        export_backbone(source(family, **changes), target, **options)


@pytest.mark.parametrize('suffix', ['.pth', '.safetensors'])
def test_timm_reads_the_file_as_printed(suffix, source, tmp_path):
    timm = pytest.importorskip('timm')
    export = export_backbone(source('MaskedSwin'), 'timm')
    path = tmp_path / f'swin{suffix}'
    write_export(export, path)
    scope = {'timm': timm}
    exec(snippet(export, path), scope)
    x = torch.randn(1, 3, 128, 128)
    with torch.inference_mode():
        theirs = features(export, scope['model'].eval(), x)[0]
        torch.testing.assert_close(theirs, export.backbone(x)[0], atol=1e-4, rtol=0)

    head = timm.create_model(export.architecture, **{**export.arguments, 'num_classes': 3})
    lost = head.load_state_dict(timm.models.load_state_dict(str(path)), strict=False)
    assert set(lost.missing_keys) == {'head.fc.weight', 'head.fc.bias'} and not lost.unexpected_keys


def test_transformers_reads_the_folder_with_a_classifier(transformers, source, tmp_path):
    export = export_backbone(source('MaskedViT'), 'huggingface')
    write_export(export, tmp_path / 'vit')
    model, info = transformers.ViTForImageClassification.from_pretrained(
        tmp_path / 'vit', output_loading_info=True
    )
    assert set(info['missing_keys']) == {'classifier.weight', 'classifier.bias'}
    x = torch.randn(1, 3, 32, 32)
    with torch.inference_mode():
        tokens = model.eval().vit(pixel_values=x).last_hidden_state[:, 1:]
        ours = export.backbone(x)[0].flatten(2).transpose(1, 2)
    torch.testing.assert_close(tokens, ours, atol=1e-4, rtol=0)


OPENMMLAB = [(f, t) for f, t in PAIRS if t.startswith('mm')]


@pytest.mark.parametrize(('family', 'target'), OPENMMLAB)
def test_openmmlab_loads_the_file_by_init_cfg(family, target, source, request, tmp_path):
    """By the line that is printed, through the loader of each architecture."""
    need(target, request)
    import importlib

    from mmengine.config import Config
    from mmengine.registry import DefaultScope

    importlib.import_module(f'{target}.models')
    export = export_backbone(source(family), target)
    write_export(export, tmp_path / 'file.pth')
    (tmp_path / 'config.py').write_text(snippet(export, tmp_path / 'file.pth'))
    config = Config.fromfile(tmp_path / 'config.py').backbone
    with DefaultScope.overwrite_default_scope(target):
        model = importlib.import_module(f'{target}.registry').MODELS.build(config)
        model.init_weights()
    own = model.state_dict()
    for name, tensor in export.state_dict.items():
        assert torch.equal(own[name], tensor), name
