import pytest
import torch

from simmim_mm.models.necks import InverseSwinDecoder, MLPDecoder, PixelShuffleDecoder
from simmim_mm.models.necks.inverse_swin_decoder import PatchSplitting

TINY = dict(embed_dims=8, depths=[1, 2], num_heads=[1, 2])
MASK = torch.zeros(2, 8, 12, dtype=torch.bool)


def build(**kwargs):
    torch.manual_seed(0)
    defaults = dict(in_channels=10, arch=TINY, img_size=(32, 48), window_size=4)
    model = InverseSwinDecoder(**{**defaults, **kwargs})
    model.init_weights()
    return model.eval()


def parameters(module):
    return sum(p.numel() for p in module.parameters()) / 1e6


def test_heads_have_the_papers_sizes():
    """SimMIM table 2: 89.9, 90.9, 115.2 and 174.8 million with the encoder, Swin-B."""
    with torch.device('meta'):
        linear = parameters(PixelShuffleDecoder(1024, 32))
        mlp = parameters(MLPDecoder(1024, 32))
        tiny, base = (parameters(InverseSwinDecoder(1024, arch)) for arch in ('tiny', 'base'))
    encoder = 89.9 - linear
    assert encoder + mlp == pytest.approx(90.9, abs=0.1)
    assert encoder + tiny == pytest.approx(115.2, rel=0.01)
    assert encoder + base == pytest.approx(174.8, rel=0.01)


@pytest.mark.parametrize('channels', [1, 6])
@pytest.mark.parametrize(('patch_size', 'size'), [(4, (32, 48)), (1, (8, 12))])
def test_predicts_at_the_resolution_of_its_patches(channels, patch_size, size):
    decoder = build(patch_size=patch_size, img_size=size, out_channels=channels)
    pred = decoder([torch.randn(2, 10, 4, 6)], MASK)
    assert pred.shape == (2, channels, *size) and pred.isfinite().all()
    assert decoder.out_channels == channels


def test_windows_are_clamped_to_small_maps():
    decoder = build(window_size=12)
    assert [s.blocks[0].attn.window_size for s in decoder.stages] == [4, 8]
    assert decoder([torch.randn(1, 10, 4, 6)], MASK[:1]).shape == (1, 3, 32, 48)


def test_positions_exchange_what_they_know_within_windows():
    decoder = build(arch=dict(embed_dims=8, depths=[1, 1], num_heads=[1, 2]), window_size=2)
    feats = torch.randn(1, 10, 4, 6)
    other = feats.clone()
    other[..., 0, 0] += 1
    changed = (decoder([other], MASK) - decoder([feats], MASK)).abs().amax((0, 1)) > 1e-7
    assert changed[:16, :16].all() and not changed[16:].any() and not changed[:, 16:].any()


def test_patch_splitting_lays_channels_out_as_2x2_positions():
    torch.manual_seed(0)
    split = PatchSplitting(8)
    x = torch.randn(2, 15, 8)
    y, size = split(x, (3, 5))
    assert size == (6, 10) and y.shape == (2, 60, 4)
    expanded = split.expansion(split.norm(x)).view(2, 3, 5, 4, 2, 2)  # channel, row, column
    y = y.view(2, 3, 2, 5, 2, 4)
    torch.testing.assert_close(y, expanded.permute(0, 1, 4, 2, 5, 3))


def test_unknown_arch_is_told():
    with pytest.raises(ValueError, match=r"'base'.* or a dict, got 'nano'"):
        build(arch='nano')


def test_mlp_is_two_layers_at_every_position():
    torch.manual_seed(0)
    neck = MLPDecoder(in_channels=7, stride=4, out_channels=2, hidden_channels=5)
    x = torch.randn(2, 7, 3, 5)
    first, _, second, _ = neck.decoder
    hidden = torch.einsum('oc,bchw->bohw', first.weight.flatten(1), x) + first.bias.view(-1, 1, 1)
    hidden = torch.nn.functional.gelu(hidden)
    out = torch.einsum('oc,bchw->bohw', second.weight.flatten(1), hidden)
    out = (out + second.bias.view(-1, 1, 1)).view(2, 2, 4, 4, 3, 5).permute(0, 1, 4, 2, 5, 3)
    mask = torch.zeros(2, 3, 5, dtype=torch.bool)
    torch.testing.assert_close(neck([x], mask), out.reshape(2, 2, 12, 20))
    assert neck.out_channels == 2
