import math

import pytest
import torch
from masked_backbone_suite import MaskedBackboneSuite, scramble
from mmpretrain.models import BEiTViT
from torch.testing import assert_close

from simmim_mm.models.backbones import MaskedBEiT

ARCH = dict(embed_dims=24, num_layers=3, num_heads=3, feedforward_channels=96)


class TestMaskedBEiT(MaskedBackboneSuite):
    backbone, reference = MaskedBEiT, BEiTViT
    kwargs = dict(arch=ARCH, img_size=(48, 64), out_indices=(0, 2))
    reference_kwargs = dict(
        final_norm=True, out_type='featmap', use_rel_pos_bias=False, use_shared_rel_pos_bias=True
    )
    size = (48, 64)
    out_stride = 16

    def test_images_of_another_size_are_refused(self):
        with pytest.raises(ValueError, match=r'64x48 pixels.*built for 48x64'):
            self.build()(self.images(size=(64, 48)))

    def test_drop_path_is_applied_once_per_branch(self):
        # With rate 1 - 1/n a kept branch is scaled by n, in mmpretrain's MLP branch by n squared.
        torch.manual_seed(0)
        arch = {**ARCH, 'num_layers': 2}
        model = scramble(MaskedBEiT(arch=arch, img_size=16, drop_path_rate=0.75))
        x = torch.randn(2000, 2, 24)
        layer, bias = model.layers[1].train(), model.rel_pos_bias()
        with torch.no_grad():
            layer.gamma_1.zero_()
            moved = layer(x, bias) - x
            full = layer.gamma_2 * layer.ffn.layers(layer.ln2(x))
        kept = moved.abs().amax((1, 2)) > 0
        assert abs(kept.float().mean() - 0.25) < 0.05
        assert_close(moved[kept], 4 * full[kept], rtol=1e-4, atol=1e-5)

    def test_initialization_is_the_authors(self):
        torch.manual_seed(0)
        model = MaskedBEiT(
            arch=dict(embed_dims=192, num_layers=4, num_heads=3, feedforward_channels=768)
        )
        model.init_weights()
        # normal of std 0.02 cut at one std: std = 0.02 * 0.5396
        cut = 0.02 * 0.53956
        for depth, layer in enumerate(model.layers, start=1):
            assert_close(layer.attn.qkv.weight.std().item(), cut, rtol=0.02, atol=0)
            assert layer.attn.qkv.weight.abs().max() <= 0.02
            for weight in (layer.attn.proj.weight, layer.ffn.layers[1].weight):
                assert_close(weight.std().item(), cut / math.sqrt(2 * depth), rtol=0.02, atol=0)
            assert (layer.gamma_1 == 0.1).all() and (layer.gamma_2 == 0.1).all()
            assert not layer.attn.proj.bias.any() and not layer.ffn.layers[1].bias.any()
        assert model.mask_token.any() and model.mask_token.abs().max() <= 0.02
        assert model.cls_token.any() and model.cls_token.abs().max() <= 0.02
        assert not model.rel_pos_bias.relative_position_bias_table.any()
        assert_close(model.patch_embed.projection.weight.std().item(), cut, rtol=0.02, atol=0)

    def test_shared_bias_goes_to_every_block_for_finetuning(self):
        shared = self.build()
        own = scramble(
            MaskedBEiT(**self.kwargs, use_rel_pos_bias=True, use_shared_rel_pos_bias=False), seed=3
        ).eval()
        report = own.load_state_dict(shared.state_dict(), strict=False)
        assert not report.unexpected_keys
        x = self.images()
        assert_close(own(x)[-1], shared(x)[-1])

    def test_bias_is_resized_on_loading(self):
        small, table = self.build(img_size=64), 'rel_pos_bias.relative_position_bias_table'
        with torch.no_grad():
            # constant over the grid: stays so at any size; class token rows apart
            small.rel_pos_bias.relative_position_bias_table.copy_(
                torch.tensor([1.0, -2.0, 3.0]).expand(52, -1)
            )
            small.rel_pos_bias.relative_position_bias_table[-3:] = torch.eye(3)
        large = self.build(img_size=(96, 128))
        report = large.load_state_dict(small.state_dict(), strict=False)
        assert not report.unexpected_keys
        loaded = large.state_dict()[table]
        assert_close(loaded[:-3], torch.tensor([1.0, -2.0, 3.0]).expand(11 * 15, -1))
        assert_close(loaded[-3:], torch.eye(3))
