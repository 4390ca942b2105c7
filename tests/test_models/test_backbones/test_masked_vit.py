import copy

import pytest
import torch
from masked_backbone_suite import MaskedBackboneSuite
from mmpretrain.models import VisionTransformer
from torch.testing import assert_close

from simmim_mm.masking import upsample_mask
from simmim_mm.models.backbones import MaskedViT

ARCH = dict(embed_dims=24, num_layers=3, num_heads=3, feedforward_channels=96)


class TestTokenMode(MaskedBackboneSuite):
    backbone, reference = MaskedViT, VisionTransformer
    kwargs = dict(arch=ARCH, img_size=(48, 64), out_indices=(0, 2))
    reference_kwargs = dict(out_type='featmap')
    size = (48, 64)
    out_stride = 16

    def test_other_sizes_interpolate_the_position_embedding(self):
        model, reference = self.build(), self.build_reference()
        state = {k: v for k, v in model.state_dict().items() if k != 'mask_token'}
        reference.load_state_dict(copy.deepcopy(state))
        x = self.images(size=(80, 32))
        assert_close(model(x)[-1], reference(x)[-1])
        assert model(x, self.mask(model, x))[-1].shape[-2:] == (5, 2)

    def test_position_is_told_to_mask_tokens(self):
        # Without a position two masked tokens would be the same, whatever the rest shows.
        model, x = self.build(out_indices=(2,)), self.images()
        out = model(x, torch.ones(2, 3, 4, dtype=torch.bool))[0].flatten(2)
        assert not torch.allclose(out[..., 0], out[..., 5], atol=1e-3)

    def test_no_class_token(self):
        model, x = self.build(with_cls_token=False), self.images()
        assert model(x, self.mask(model, x))[-1].shape == (2, 24, 3, 4)


class TestGatherMode(MaskedBackboneSuite):
    """With a mask the output is tokens, so the suite's tests on masked maps are replaced."""

    backbone, reference = MaskedViT, VisionTransformer
    kwargs = dict(arch=ARCH, img_size=(48, 64), out_indices=(0, 2), mask_mode='gather')
    size = (48, 64)
    out_stride = 16
    mask_mode = 'gather'
    extra_keys = frozenset()

    def build_reference(self, **overrides):
        kwargs = {k: v for k, v in self.kwargs.items() if k != 'mask_mode'}
        model = VisionTransformer(**{**kwargs, 'out_type': 'featmap', **overrides})
        model.eval()
        return model

    def test_empty_mask_is_no_mask(self):
        model, x = self.build(), self.images()
        maps = model(x)[-1].flatten(2).transpose(1, 2)
        tokens = model(x, torch.zeros(2, 3, 4, dtype=torch.bool))[-1]
        assert_close(tokens[:, 1:], maps)

    def test_mask_matters_and_no_mask_is_finite(self):
        model, x = self.build(), self.images()
        mask = self.mask(model, x)
        plain, tokens = model(x)[-1], model(x, mask)[-1]
        assert plain.isfinite().all() and tokens.isfinite().all()
        visible = plain.permute(0, 2, 3, 1)[~mask].view(2, -1, 24)
        assert not torch.allclose(tokens[:, 1:], visible, atol=1e-3)

    def test_mask_token_learns_only_under_a_mask(self):
        assert 'mask_token' not in dict(self.build().named_parameters())

    @pytest.mark.parametrize('factor', [(1, 2), (2, 1)])
    def test_height_and_width_may_differ(self, factor):
        size = tuple(n * f for n, f in zip(self.size, factor))
        model, x = self.build(img_size=size), self.images(size=size)
        mask = self.mask(model, x)
        assert model(x)[-1].shape[-2:] == (size[0] // 16, size[1] // 16)
        assert model(x, mask)[-1].shape[1] == 1 + (~mask[0]).sum()

    def test_tokens_are_in_raster_order_and_the_class_token_first(self):
        # A block without attention weights sees each token alone: tokens equal those of the map.
        model, x = self.build(), self.images()
        with torch.no_grad():
            for layer in model.layers:
                layer.attn.proj.weight.zero_()
        mask = self.mask(model, x)
        tokens, maps = model(x, mask)[-1], model(x)[-1]
        assert_close(tokens[:, 1:], maps.permute(0, 2, 3, 1)[~mask].view(2, -1, 24))

        model.out_type = 'cls_token'
        assert_close(tokens[:, 0], model(x)[-1])

    def test_unequal_visible_counts_are_refused(self):
        model, x = self.build(), self.images()
        mask = self.mask(model, x)
        mask[0].view(-1)[mask[0].view(-1).nonzero()[0]] = False
        counts = (~mask).sum((1, 2)).tolist()
        with pytest.raises(ValueError, match=rf'\[{counts[0]}, {counts[1]}\]'):
            model(x, mask)

    def test_blocks_see_visible_tokens_only(self):
        model, x = self.build(), self.images()
        mask, seen = self.mask(model, x), []
        model.layers[0].register_forward_pre_hook(lambda _, args: seen.append(args[0].shape[1]))
        model(x, mask)
        assert seen == [1 + int((~mask[0]).sum())]

    def test_nothing_of_a_masked_pixel_is_encoded_not_even_nan(self):
        model, x = self.build(), self.images()
        mask = self.mask(model, x)
        broken = x.masked_fill(upsample_mask(mask, self.size), float('nan'))
        assert_close(model(broken, mask)[-1], model(x, mask)[-1], rtol=0, atol=0)

    def test_position_embedding_is_fixed(self):
        model = MaskedViT(arch=ARCH, img_size=(32, 64), mask_mode='gather')
        before = model.pos_embed.clone()
        model.init_weights()
        assert_close(model.pos_embed, before)
        assert not model.pos_embed.requires_grad and 'pos_embed' in model.state_dict()
        # MAE: first half of the channels the column, second the row; sines then cosines
        token = model.pos_embed[0, 1 + 1 * 4 + 3]  # row 1, column 3
        frequency = 1e4 ** (-torch.arange(6) / 6)
        expected = [f(p * frequency) for p in (3, 1) for f in (torch.sin, torch.cos)]
        assert_close(token, torch.cat(expected))
        assert not model.pos_embed[0, 0].any()


def test_mask_mode_is_checked():
    with pytest.raises(ValueError, match=r"'gather'.*'drop'"):
        MaskedViT(arch=ARCH, mask_mode='drop')


def test_mask_on_another_grid_names_both():
    model = MaskedViT(arch=ARCH, img_size=64)
    with pytest.raises(ValueError, match=r'8x8.*4x4'):
        model(torch.rand(1, 3, 64, 64), torch.zeros(1, 8, 8, dtype=torch.bool))
