"""Models of timm and transformers with random weights give the same features after conversion."""

import functools
from pathlib import Path

import pytest
import torch
from mmengine.registry import init_default_scope
from torch.testing import assert_close

from simmim_mm.checkpoint import load_weights
from simmim_mm.interop import convert, convert_checkpoint, detect_family
from simmim_mm.registry import MODELS

SWIN = dict(img_size=64, patch_size=2, embed_dim=8, depths=(2, 2, 1, 1), num_heads=(1, 2, 2, 4))
VIT = dict(img_size=32, patch_size=8, embed_dim=24, depth=2, num_heads=3)
HF_SWIN = dict(
    image_size=64, patch_size=2, embed_dim=8, depths=[2, 2, 1, 1], num_heads=[1, 2, 2, 4]
)
HF_VIT = dict(
    image_size=32,
    patch_size=8,
    hidden_size=24,
    num_hidden_layers=2,
    num_attention_heads=3,
    intermediate_size=96,
)


def scramble(model: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """Weights large enough that every one of them shows in the features."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, p in model.named_parameters():
            gain = p.ndim == 1 and name.endswith('weight')
            p.copy_((1.0 if gain else 0.0) + torch.randn_like(p) * (0.1 if p.ndim == 1 else 0.2))
    return model.eval()


def images(side: int, channels: int = 3) -> torch.Tensor:
    return torch.randn(2, channels, side, side, generator=torch.Generator().manual_seed(1))


def converted(source: Path, **arguments) -> torch.nn.Module:
    """Our backbone, built and loaded from what the converter writes."""
    target = source.parent / 'ours.pth'
    _, config, report = convert_checkpoint(source, target, arguments=arguments, overwrite=True)
    assert not report.mismatched and not report.unexpected, str(report)
    init_default_scope('simmim_mm')
    model = MODELS.build(config.model)
    left = model.load_state_dict(load_weights(target)['state_dict'], strict=False)
    assert all('mask_token' in k or k.startswith('neck.') for k in left.missing_keys), left
    return model.eval()


TIMM = {
    'timm_swin': ('swin_transformer.SwinTransformer', dict(SWIN, window_size=4), {}),
    'timm_swinv2': (
        'swin_transformer_v2.SwinTransformerV2',
        dict(SWIN, window_size=4),
        dict(img_size=64, window_size=4),
    ),
    'timm_vit': ('vision_transformer.VisionTransformer', dict(VIT, init_values=0.1), {}),
    'timm_beit': (
        'beit.Beit',
        dict(VIT, init_values=0.1, use_rel_pos_bias=True, use_abs_pos_emb=False, use_fc_norm=False),
        {},
    ),
    'timm_beit, one table': (
        'beit.Beit',
        dict(VIT, init_values=0.1, use_shared_rel_pos_bias=True, use_fc_norm=False),
        {},
    ),
}


@pytest.mark.parametrize('case', TIMM)
def test_timm(case, tmp_path):
    timm = pytest.importorskip('timm')
    name, arguments, by_hand = TIMM[case]
    build = functools.reduce(getattr, name.split('.'), timm.models)
    theirs, family = scramble(build(**arguments)), case.split(',')[0]
    assert detect_family(theirs.state_dict()) == family
    torch.save(theirs.state_dict(), tmp_path / 'theirs.pth')
    if 'num_heads' in arguments and family == 'timm_vit':
        by_hand = dict(num_heads=3)  # the weights do not tell, and the width is no usual one
    ours = converted(tmp_path / 'theirs.pth', **by_hand)

    x = images(arguments['img_size'])
    with torch.no_grad():
        expected, features = theirs.forward_features(x), ours.backbone(x)[-1]
    if expected.ndim == 4:
        expected = expected.permute(0, 3, 1, 2)
    else:
        expected = expected[:, 1:].transpose(1, 2).unflatten(2, features.shape[-2:])
    assert features.std() > 0.1
    assert_close(features, expected, rtol=0, atol=1e-4)


HF = {
    'hf_swin': ('SwinForMaskedImageModeling', dict(HF_SWIN, window_size=4, encoder_stride=16)),
    'hf_swinv2': ('Swinv2ForMaskedImageModeling', dict(HF_SWIN, window_size=4, encoder_stride=16)),
    'hf_vit': ('ViTForMaskedImageModeling', dict(HF_VIT, encoder_stride=8)),
    'hf_vit_mae': (
        'ViTMAEForPreTraining',
        dict(
            HF_VIT,
            decoder_hidden_size=16,
            decoder_num_hidden_layers=1,
            decoder_num_attention_heads=2,
            decoder_intermediate_size=64,
            norm_pix_loss=True,
        ),
    ),
    'hf_beit': (
        'BeitForMaskedImageModeling',
        dict(HF_VIT, use_relative_position_bias=True, use_mask_token=True),
    ),
    'hf_beit, one table': (
        'BeitModel',
        dict(
            HF_VIT,
            use_shared_relative_position_bias=True,
            use_absolute_position_embeddings=True,
            use_mean_pooling=False,
        ),
    ),
}


@pytest.fixture(params=HF)
def published(request, transformers, tmp_path):
    """A model of transformers and the folder that it was published as."""
    name, arguments = HF[request.param]
    model = getattr(transformers, name)
    config = model.config_class(**arguments, hidden_dropout_prob=0.0)
    model = scramble(model(config))
    model.save_pretrained(tmp_path)
    return request.param.split(',')[0], model, tmp_path / 'model.safetensors'


def test_transformers(published):
    family, theirs, file = published
    assert detect_family(load_weights(file)) == family
    ours = converted(file)  # heads and windows stand in config.json
    base, x = theirs.base_model, images(theirs.config.image_size)
    with torch.no_grad():
        if family == 'hf_vit_mae':  # encodes at a mask, which it draws itself: none here
            base.config.mask_ratio = 0.0
            noise = torch.arange(16.0).expand(2, -1)
            expected = base(x, noise=noise).last_hidden_state
        else:
            expected = base(x).last_hidden_state
        if type(theirs).__name__ == 'BeitForMaskedImageModeling':  # the norm is outside its base
            expected = theirs.layernorm(expected)
        features = ours.backbone(x)[-1]
    tokens = features.flatten(2).transpose(1, 2)
    assert features.std() > 0.1
    assert_close(tokens, expected[:, -tokens.shape[1] :], rtol=0, atol=1e-4)


@pytest.mark.parametrize('published', ['hf_swin', 'hf_vit', 'hf_swinv2'], indirect=True)
def test_simmim_of_transformers_reconstructs_alike(published):
    _, theirs, file = published
    ours, x = converted(file), images(theirs.config.image_size)
    side = theirs.config.image_size // theirs.config.patch_size
    mask = torch.rand(2, side, side, generator=torch.Generator().manual_seed(2)) < 0.5
    with torch.no_grad():
        expected = theirs(x, bool_masked_pos=mask.flatten(1)).reconstruction
        prediction = ours.neck(ours.backbone(x, mask), mask)
    assert_close(prediction, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize('published', ['hf_vit_mae'], indirect=True)
def test_mae_of_transformers_predicts_alike(published):
    _, theirs, file = published
    ours, x = converted(file), images(theirs.config.image_size)
    noise = torch.rand(2, 16, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        out = theirs(x, noise=noise)
        mask = out.mask.view(2, 4, 4).bool()
        prediction = ours.neck(ours.backbone(x, mask), mask)
        expected = theirs.unpatchify(out.logits)
    assert_close(prediction, expected, rtol=0, atol=1e-4)


def test_part_of_the_projections_is_left_over():
    state = {
        f'encoder.layer.0.attention.attention.{part}.weight': torch.zeros(24, 24)
        for part in ('query', 'key')
    }
    conversion = convert(state, 'hf_vit')
    assert not conversion.state_dict and conversion.left_over == list(state)
