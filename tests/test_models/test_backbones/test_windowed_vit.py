"""Windows of the plain ViT: plain attention where one window does, and nothing across them."""

import pytest
import torch
from mmpretrain.models.utils import MultiheadAttention

from simmim_mm.models.backbones import MaskedViT, WindowedViT
from simmim_mm.models.backbones.windowed_vit import WindowedAttention

ARCH = dict(embed_dims=16, num_layers=4, num_heads=2, feedforward_channels=32)


def pair(**kwargs) -> tuple:
    torch.manual_seed(0)
    plain = MaskedViT(ARCH, img_size=32, patch_size=4, mask_mode='gather', drop_path_rate=0.2)
    plain.init_weights()
    windowed = WindowedViT(ARCH, img_size=32, patch_size=4, drop_path_rate=0.2, **kwargs)
    assert windowed.state_dict().keys() == plain.state_dict().keys()
    windowed.load_state_dict(plain.state_dict())
    return plain.double().eval(), windowed.double().eval()


@pytest.mark.parametrize('size', [(32, 32), (20, 36), (64, 40)])
def test_a_window_that_covers_the_map_gives_the_features_of_the_plain_vit(size):
    plain, windowed = pair(window_size=16, global_blocks=())
    x = torch.randn(2, 3, *size, dtype=torch.float64)
    torch.testing.assert_close(windowed(x)[0], plain(x)[0], rtol=1e-5, atol=1e-5)


def test_a_pretraining_checkpoint_loads_whatever_the_image_size(tmp_path):
    plain, _ = pair()
    weights = {f'backbone.{k}': v for k, v in plain.state_dict().items()}
    torch.save(dict(state_dict=weights), tmp_path / 'pretrained.pth')
    init_cfg = dict(
        type='Pretrained', checkpoint=str(tmp_path / 'pretrained.pth'), prefix='backbone.'
    )
    windowed = WindowedViT(
        ARCH, img_size=64, patch_size=4, window_size=16, global_blocks=(), init_cfg=init_cfg
    )
    windowed.init_weights()
    windowed = windowed.double().eval()
    x = torch.randn(1, 3, 64, 64, dtype=torch.float64)
    torch.testing.assert_close(windowed(x)[0], plain(x)[0], rtol=1e-4, atol=1e-4)


def test_attention_is_that_of_each_window_alone():
    """5 x 7 tokens and windows of at most 3: 2 x 3 windows of 3 x 3, the last ones smaller."""
    torch.manual_seed(0)
    plain = MultiheadAttention(8, 2).double()
    windowed = WindowedAttention(plain, window_size=3, num_extra_tokens=1)
    windowed.grid = (5, 7)
    x = torch.randn(2, 1 + 35, 8, dtype=torch.float64)
    out = windowed(x)
    tokens, expected = x[:, 1:].view(2, 5, 7, 8), torch.zeros(2, 5, 7, 8, dtype=torch.float64)
    extra = []
    for rows in (slice(0, 3), slice(3, 5)):
        for cols in (slice(0, 3), slice(3, 6), slice(6, 7)):
            part = tokens[:, rows, cols]
            alone = plain(torch.cat((x[:, :1], part.flatten(1, 2)), 1))
            expected[:, rows, cols] = alone[:, 1:].view_as(part)
            extra.append(alone[:, :1])
    torch.testing.assert_close(out[:, 1:], expected.flatten(1, 2))
    torch.testing.assert_close(out[:, :1], torch.stack(extra).mean(0))


def test_what_happens_in_one_window_reaches_the_others_by_global_blocks_alone():
    x = torch.randn(1, 3, 32, 32, dtype=torch.float64)
    changed = x.clone()
    changed[..., :4, :4] += 1  # a token of the first of 2 x 2 windows
    for global_blocks, reached in (((), False), ((1,), True)):
        _, windowed = pair(window_size=4, global_blocks=global_blocks, with_cls_token=True)
        # without the class token, which is in every window
        windowed.cls_token, windowed.num_extra_tokens = None, 0
        windowed.pos_embed = torch.nn.Parameter(windowed.pos_embed[:, 1:])
        for layer in windowed.layers:
            layer.attn.num_extra_tokens = 0
        difference = (windowed(changed)[0] - windowed(x)[0]).abs().amax(1)[0]
        assert difference[:4, :4].min() > 0
        assert (difference[4:, 4:].max() > 1e-6) == reached


def test_global_blocks_are_the_last_of_each_quarter():
    arch = dict(ARCH, num_layers=12)
    layers = WindowedViT(arch, img_size=32, patch_size=4).layers
    globally = [i for i, la in enumerate(layers) if not isinstance(la.attn, WindowedAttention)]
    assert globally == [2, 5, 8, 11]
    with pytest.raises(ValueError, match=r'names \[12\]'):
        WindowedViT(arch, img_size=32, patch_size=4, global_blocks=(2, 12))


def test_a_mask_is_refused():
    _, windowed = pair()
    with pytest.raises(ValueError, match='pretrain with MaskedViT'):
        windowed(torch.zeros(1, 3, 32, 32), torch.zeros(1, 8, 8, dtype=torch.bool))
