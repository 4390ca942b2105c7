"""Pooling against its formula, and a frozen backbone that nothing of a training changes."""

import pytest
import torch
from mmpretrain.structures import DataSample

from simmim_mm.registry import MODELS


@pytest.fixture
def maps():
    torch.manual_seed(0)
    return (torch.randn(6, 4, 9, 9).double(), torch.randn(6, 8, 3, 5).double() * 3 + 1)


def build(**cfg):
    torch.manual_seed(1)
    return MODELS.build(cfg).double()


def test_average_and_layer_norm(maps):
    pool = build(type='AveragePool', in_channels=8, norm='layer')
    torch.nn.init.normal_(pool.norm.weight)
    mean = maps[1].mean((2, 3))
    centered = mean - mean.mean(1, keepdim=True)
    expected = centered / (centered.square().mean(1, keepdim=True) + 1e-6).sqrt() * pool.norm.weight
    (out,) = pool(maps)
    torch.testing.assert_close(out, expected)


def test_batch_norm_has_no_weights_and_normalizes_the_batch(maps):
    pool = build(type='AveragePool', in_channels=8, norm='batch')
    assert not list(pool.parameters())
    mean = maps[1].mean((2, 3))
    variance = mean.var(0, unbiased=False)
    (out,) = pool.train()(maps)
    torch.testing.assert_close(out, (mean - mean.mean(0)) / (variance + 1e-6).sqrt())


def test_attention_is_the_softmax_of_the_query_with_all_tokens(maps):
    pool = build(type='AttentivePool', in_channels=8, num_heads=2, norm=None)
    for parameter in pool.parameters():
        torch.nn.init.normal_(parameter)
    tokens = maps[1].flatten(2).transpose(1, 2)
    attention = pool.attention
    wq, wk, wv = attention.in_proj_weight.chunk(3)
    bq, bk, bv = attention.in_proj_bias.chunk(3)
    q, k, v = pool.query[0] @ wq.T + bq, tokens @ wk.T + bk, tokens @ wv.T + bv
    heads = []
    for part in (slice(0, 4), slice(4, 8)):
        scores = (k[..., part] @ q[0, part]) / 4**0.5
        heads.append((scores.softmax(1)[..., None] * v[..., part]).sum(1))
    out = torch.cat(heads, 1) @ attention.out_proj.weight.T + attention.out_proj.bias
    torch.testing.assert_close(pool(maps)[0], out)


def test_settings_that_make_no_sense():
    with pytest.raises(ValueError, match="'group'"):
        build(type='AveragePool', in_channels=8, norm='group')
    with pytest.raises(ValueError, match='8 channels cannot be divided among 3 heads'):
        build(type='AttentivePool', in_channels=8, num_heads=3)


def test_only_the_probe_learns():
    torch.manual_seed(0)
    arch = dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=32)
    model = MODELS.build(
        dict(
            type='simmim_mm.FrozenClassifier',
            backbone=dict(
                type='simmim_mm.MaskedViT',
                arch=arch,
                img_size=32,
                patch_size=8,
                drop_path_rate=0.5,
                drop_rate=0.5,
            ),
            neck=dict(type='simmim_mm.AttentivePool', in_channels=16, num_heads=2),
            head=dict(type='mmpretrain.LinearClsHead', num_classes=2, in_channels=16),
        )
    )
    model.init_weights()
    frozen = {k: v.clone() for k, v in model.backbone.state_dict().items()}
    images, labels = torch.randn(8, 3, 32, 32), torch.arange(8) % 2
    samples = [DataSample().set_gt_label(int(label)) for label in labels]
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(trained, lr=0.02)
    losses = []
    for _ in range(30):
        model.train()
        assert torch.equal(model.backbone(images)[0], model.backbone(images)[0])
        loss = model(images, samples, mode='loss')['loss']
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]
    for key, value in model.backbone.state_dict().items():
        assert torch.equal(value, frozen[key]), key


VIT = dict(
    type='simmim_mm.MaskedViT',
    arch=dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=32),
    img_size=32,
    patch_size=8,
)
HEAD = dict(type='mmpretrain.LinearClsHead', num_classes=3)


@pytest.mark.parametrize('kind', ['Classifier', 'FrozenClassifier'])
@pytest.mark.parametrize(
    'neck',
    ['simmim_mm.AveragePool', 'simmim_mm.AttentivePool', 'mmpretrain.ClsBatchNormNeck', None],
)
def test_neck_and_head_get_the_channels_of_the_backbone(kind, neck):
    vectors = neck is None or 'Cls' in neck
    backbone = dict(VIT, out_type='cls_token' if vectors else 'featmap')
    heads = dict(num_heads=2) if neck and 'Attentive' in neck else {}
    model = MODELS.build(
        dict(
            type=f'simmim_mm.{kind}',
            backbone=backbone,
            neck=neck and dict(type=neck, **heads),
            head=HEAD,
        )
    )
    assert model(torch.randn(2, 3, 32, 32)).shape == (2, 3)


def test_given_channels_win_and_other_backbones_need_them():
    with pytest.raises(RuntimeError, match='shapes cannot be multiplied'):
        wrong = dict(HEAD, in_channels=15)
        backbone = dict(VIT, out_type='cls_token')
        MODELS.build(dict(type='simmim_mm.Classifier', backbone=backbone, head=wrong))(
            torch.randn(2, 3, 32, 32)
        )
    other = dict(type='mmpretrain.ResNet', depth=18)
    neck = dict(type='mmpretrain.GlobalAveragePooling')
    with pytest.raises(TypeError, match='in_channels'):
        MODELS.build(dict(type='simmim_mm.Classifier', backbone=other, neck=neck, head=HEAD))
    head = dict(HEAD, in_channels=512)
    model = MODELS.build(dict(type='simmim_mm.Classifier', backbone=other, neck=neck, head=head))
    assert model(torch.randn(2, 3, 32, 32)).shape == (2, 3)
