import pytest
import torch
from masked_backbone_suite import MaskedBackboneSuite
from mmpretrain.models.backbones import ConvNeXt
from torch.testing import assert_close

from simmim_mm.models.backbones import MaskedConvNeXt

ARCH = dict(depths=[1, 1, 2, 1], channels=[8, 12, 16, 24])


class TestMaskedConvNeXt(MaskedBackboneSuite):
    backbone = MaskedConvNeXt
    reference = ConvNeXt
    kwargs = dict(arch=ARCH, out_indices=(0, 3))
    reference_kwargs = dict(gap_before_final_norm=False, out_indices=[0, 3])

    def build(self, img_size=None, **overrides):  # takes images of any size
        return super().build(**overrides)


class TestMaskedConvNeXtV2(TestMaskedConvNeXt):
    kwargs = dict(arch=ARCH, out_indices=(0, 3), use_grn=True, layer_scale_init_value=0.0)


def test_pooled_features_are_those_of_mmpretrain():
    torch.manual_seed(0)
    native = MaskedConvNeXt(arch=ARCH, gap_before_final_norm=True).eval()
    reference = ConvNeXt(arch=ARCH)
    reference.eval()
    reference.load_state_dict({k: v for k, v in native.state_dict().items() if k != 'mask_token'})
    x = torch.randn(2, 3, 32, 64)
    assert_close(native(x), reference(x))


@pytest.mark.parametrize('stride', [2, 8])
def test_patches_of_another_size(stride):
    model = MaskedConvNeXt(arch=ARCH, stem_patch_size=stride).eval()
    x, mask = torch.randn(1, 3, 64, 64), torch.zeros(1, 64 // stride, 64 // stride).bool()
    assert model.token_stride == stride
    assert_close(model(x, mask), model(x))
