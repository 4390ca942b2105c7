import pytest
import torch

from simmim_mm.registry import MODELS


def build(**kwargs):
    return MODELS.build(dict(type='simmim_mm.SimpleFeaturePyramid', **kwargs))


@pytest.mark.parametrize(
    'scales, stride, strides',
    [((4, 2, 1, 0.5), 16, [4, 8, 16, 32, 64]), ((2, 1, 0.5, 0.25), 8, [4, 8, 16, 32, 64])],
)
def test_strides_of_the_levels(scales, stride, strides):
    neck = build(in_channels=16, out_channels=8, scales=scales)
    outs = neck([torch.randn(1, 16, 128 // stride, 192 // stride)])
    assert [tuple(out.shape) for out in outs] == [(1, 8, 128 // s, 192 // s) for s in strides]


def test_levels_are_local_and_normalized():
    """A position of the map reaches its own part of a level and one cell around it (3x3)."""
    neck = build(in_channels=16, out_channels=8).double()
    x = torch.randn(1, 16, 8, 8, dtype=torch.float64)
    changed = x.clone()
    changed[..., 0, 0] += 1
    for scale, a, b in zip((4, 2, 1), neck([x]), neck([changed])):
        rows = (a - b).abs().sum(1)[0].amax(1).nonzero().flatten().tolist()
        assert rows == list(range(scale + 1))
        torch.testing.assert_close(a.mean(1), torch.zeros_like(a.mean(1)), atol=1e-6, rtol=0)


def test_wrong_scales():
    with pytest.raises(ValueError, match='powers of 2'):
        build(in_channels=16, scales=(3, 1))
    with pytest.raises(ValueError, match='num_outs=2'):
        build(in_channels=16, num_outs=2)
