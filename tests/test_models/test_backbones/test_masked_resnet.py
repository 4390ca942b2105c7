import pytest
import torch
from masked_backbone_suite import MaskedBackboneSuite
from mmpretrain.models.backbones import ResNet
from torch.testing import assert_close

from simmim_mm.models.backbones import MaskedResNet

KWARGS = dict(depth=18, stem_channels=8, base_channels=8, out_indices=(0, 3))


class TestMaskedResNet(MaskedBackboneSuite):
    backbone = MaskedResNet
    reference = ResNet
    kwargs = KWARGS

    def build(self, img_size=None, **overrides):  # takes images of any size
        model = super().build(**overrides)
        for module in model.modules():  # the suite does not know this norm by its name
            if isinstance(module, torch.nn.BatchNorm2d):
                module.weight.data.add_(1)
        return model


class TestDeepStem(TestMaskedResNet):
    kwargs = dict(KWARGS, deep_stem=True)


@pytest.mark.parametrize('deep_stem', [False, True])
def test_stem_is_replaced_and_sees_the_mean_under_the_mask(deep_stem):
    """Formula: the token where masked, else the stem of the image with zeros under the mask."""
    torch.manual_seed(0)
    model = MaskedResNet(**KWARGS, deep_stem=deep_stem).eval()
    torch.nn.init.normal_(model.mask_token)
    x, mask = torch.randn(2, 3, 32, 48), torch.rand(2, 8, 12) < 0.6
    seen = []
    model.layer1.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    model(x, mask)
    pixels = mask.repeat_interleave(4, 1).repeat_interleave(4, 2)[:, None]
    model(x * ~pixels)
    m = mask[:, None].float()
    assert_close(seen[0], m * model.mask_token.view(1, -1, 1, 1) + (1 - m) * seen[1])


def test_statistics_of_batch_norm_do_not_see_masked_pixels():
    torch.manual_seed(0)
    model = MaskedResNet(**KWARGS).train()
    x, mask = torch.randn(2, 3, 32, 32), torch.rand(2, 8, 8) < 0.6
    pixels = mask.repeat_interleave(4, 1).repeat_interleave(4, 2)[:, None].expand_as(x)
    x[pixels] = float('nan')
    model(x, mask)[-1].square().sum().backward()
    assert all(b.isfinite().all() for b in model.buffers())
    assert all(p.grad.isfinite().all() for p in model.parameters())


def test_frozen_stages_stay_as_they_are():
    model = MaskedResNet(**KWARGS, frozen_stages=1).train()
    before = model.bn1.running_mean.clone()
    model(torch.randn(2, 3, 32, 32))[-1].square().sum().backward()
    touched = {k.split('.')[0] for k, p in model.named_parameters() if p.grad is not None}
    assert touched == {'layer2', 'layer3', 'layer4'}
    assert_close(model.bn1.running_mean, before, rtol=0, atol=0)
