"""What every masked backbone must do, whatever its family. Not collected by itself.

A test module derives from :class:`MaskedBackboneSuite`, fills in the class attributes and gets the
tests; families with an exception override the one test and say why.
"""

import copy
import math

import pytest
import torch
from torch.testing import assert_close

from simmim_mm.masking import upsample_mask
from simmim_mm.models.backbones.base import BaseMaskedBackbone
from simmim_mm.registry import MODELS


def scramble(model: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """Random values in every parameter, so that none hides behind its zero or one at the start."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in sorted(model.named_parameters()):
            noise = torch.randn(p.shape, generator=generator)
            is_gain = 'norm' in name and name.endswith('weight')
            p.copy_(1 + 0.1 * noise if is_gain else 0.1 * noise)
    return model


class MaskedBackboneSuite:
    """Token-mode contract: ``forward(x, mask=None)`` gives a tuple of ``(B, C, H/s, W/s)``.

    Attributes:
        backbone: Class under test.
        reference: The mmpretrain class whose keys and unmasked features it has to share.
        kwargs: Arguments of a tiny model for images of ``size``, without drop path.
        reference_kwargs: What the reference must be told in addition, to do the same.
        size: Height and width of the images; several tokens in both directions.
        out_stride: Pixels per position of the last feature map.
        mask_mode: What it does with masked tokens.
        extra_keys: Keys that the reference does not have.
    """

    backbone: type
    reference: type
    kwargs: dict
    reference_kwargs: dict = {}
    size: tuple = (64, 64)
    out_stride: int = 32
    mask_mode: str = 'token'
    extra_keys: frozenset = frozenset({'mask_token'})

    # ---- helpers ----
    def build(self, **overrides) -> torch.nn.Module:
        torch.manual_seed(0)
        return scramble(self.backbone(**{**self.kwargs, **overrides})).eval()

    def build_reference(self, **overrides) -> torch.nn.Module:
        torch.manual_seed(0)
        reference = self.reference(**{**self.kwargs, **self.reference_kwargs, **overrides})
        reference.eval()  # returns None in mmpretrain
        return reference

    def images(self, channels: int = 3, size=None, batch: int = 2, seed: int = 0) -> torch.Tensor:
        generator = torch.Generator().manual_seed(seed)
        return torch.randn(batch, channels, *(size or self.size), generator=generator)

    def mask(self, model, x: torch.Tensor, ratio: float = 0.6, seed: int = 1) -> torch.Tensor:
        """``(B, h, w)`` boolean, the same number of masked tokens in every image."""
        h, w = (n // model.token_stride for n in x.shape[-2:])
        generator = torch.Generator().manual_seed(seed)
        noise = torch.rand(len(x), h * w, generator=generator)
        return (noise.argsort(1).argsort(1) < round(ratio * h * w)).view(-1, h, w)

    # ---- what it says about itself ----
    def test_maps_and_tokens_are_what_it_says(self):
        model, x = self.build(), self.images()
        assert isinstance(model, BaseMaskedBackbone) and model.mask_mode == self.mask_mode
        maps = model(x)
        assert model.out_channels == tuple(feat.shape[1] for feat in maps)
        assert model.out_strides == tuple(self.size[0] // feat.shape[2] for feat in maps)
        assert model.out_strides[-1] == self.out_stride
        assert model.token_grid(*self.size) == self.mask(model, x).shape[1:]
        assert model.img_size in (None, self.size)
        assert model.train() is model and model.training
        assert model.eval() is model and not model.training

    def test_weights_of_its_stem_take_the_image(self):
        model = self.build()
        assert model.get_parameter(model.stem_weight).shape[1] == 3

    # ---- the mask ----
    def test_masks_of_blocks_are_masks_of_their_tokens(self):
        model, x = self.build(), self.images()
        h, w = model.token_grid(*self.size)
        side = math.gcd(h, w)  # of the largest square blocks
        blocks = torch.eye(h // side, w // side, dtype=torch.bool).expand(2, -1, -1)
        tokens = blocks.repeat_interleave(side, 1).repeat_interleave(side, 2)
        assert tokens.shape == (2, h, w) and (side > 1 or self.size == (48, 64))
        for a, b in zip(model(x, blocks), model(x, tokens)):
            assert_close(a, b, rtol=0, atol=0)

    def test_masked_pixels_do_not_reach_the_output(self):
        model, x = self.build(), self.images()
        mask = self.mask(model, x)
        other = torch.where(upsample_mask(mask, self.size), self.images(seed=9), x)
        for a, b in zip(model(x, mask), model(other, mask)):
            assert_close(a, b, rtol=0, atol=0)

    def test_visible_pixels_do(self):
        model, x = self.build(), self.images()
        mask = self.mask(model, x)
        other = torch.where(upsample_mask(mask, self.size), x, self.images(seed=9))
        assert not torch.allclose(model(x, mask)[-1], model(other, mask)[-1], atol=1e-3)

    def test_mask_matters_and_no_mask_is_finite(self):
        model, x = self.build(), self.images()
        plain, masked = model(x)[-1], model(x, self.mask(model, x))[-1]
        assert plain.isfinite().all() and masked.isfinite().all()
        assert not torch.allclose(plain, masked, atol=1e-3)

    def test_empty_mask_is_no_mask(self):
        model, x = self.build(), self.images()
        for a, b in zip(model(x), model(x, self.mask(model, x, ratio=0.0))):
            assert_close(a, b)

    def test_images_of_a_batch_do_not_mix(self):
        model, x = self.build(), self.images()
        mask = self.mask(model, x)
        together, alone = model(x, mask)[-1], model(x[1:], mask[1:])[-1]
        assert_close(together[1:], alone, rtol=1e-4, atol=1e-5)

    @pytest.mark.parametrize('crop', [(slice(1, None), slice(None)), (slice(None), slice(1, None))])
    def test_mask_on_another_grid_is_refused(self, crop):
        model, x = self.build(), self.images()
        mask = self.mask(model, x)[(slice(None), *crop)]
        with pytest.raises(ValueError, match=rf'{mask.shape[1]}x{mask.shape[2]}'):
            model(x, mask)

    def test_mask_of_another_batch_size_is_refused(self):
        model, x = self.build(), self.images()
        with pytest.raises(ValueError, match='batch'):
            model(x, self.mask(model, x)[:1])

    def test_mask_token_learns_only_under_a_mask(self):
        model, x = self.build().train(), self.images()
        model(x)[-1].square().sum().backward()
        assert model.mask_token.grad is None or not model.mask_token.grad.any()
        model(x, self.mask(model, x))[-1].square().sum().backward()
        assert model.mask_token.grad.abs().sum() > 0

    # ---- sizes ----
    @pytest.mark.parametrize('factor', [(1, 2), (2, 1)])
    def test_height_and_width_may_differ(self, factor):
        size = tuple(n * f for n, f in zip(self.size, factor))
        model, x = self.build(img_size=size), self.images(size=size)
        expected = tuple(n // self.out_stride for n in size)
        for features in (model(x), model(x, self.mask(model, x))):
            assert features[-1].shape[-2:] == expected
            assert features[-1].isfinite().all()

    @pytest.mark.parametrize('channels', [1, 5])
    def test_any_number_of_channels(self, channels):
        model, x = self.build(in_channels=channels), self.images(channels)
        changed = x.clone()
        changed[:, -1] += 1
        assert not torch.allclose(model(x)[-1], model(changed)[-1], atol=1e-3)

    # ---- weights ----
    def test_keys_are_those_of_the_reference_and_the_mask_token(self):
        native, reference = self.build().state_dict(), self.build_reference().state_dict()
        assert set(native) == set(reference) | self.extra_keys
        assert {k: v.shape for k, v in reference.items()} == {k: native[k].shape for k in reference}

    def test_plain_features_are_those_of_the_reference(self):
        model, reference, x = self.build(), self.build_reference(), self.images()
        state = {k: v for k, v in model.state_dict().items() if k not in self.extra_keys}
        reference.load_state_dict(copy.deepcopy(state), strict=False)
        for a, b in zip(model(x), reference(x)):
            assert_close(a, b, rtol=1e-5, atol=1e-5)

    def test_export_and_load_is_exact(self, tmp_path):
        model, x = self.build(), self.images()
        torch.save(model.state_dict(), tmp_path / 'weights.pth')
        other = scramble(self.backbone(**self.kwargs), seed=1).eval()
        state = torch.load(tmp_path / 'weights.pth', weights_only=True)
        missing = other.load_state_dict(state, strict=False)
        assert not missing.unexpected_keys
        mask = self.mask(model, x)
        for a, b in zip(model(x, mask), other(x, mask)):
            assert_close(a, b, rtol=0, atol=0)

    def test_built_from_a_config_of_another_scope(self):
        cfg = dict(type=f'simmim_mm.{self.backbone.__name__}', **self.kwargs)
        assert type(MODELS.build(cfg)) is self.backbone

    # ---- precision ----
    def test_autocast_stays_close_to_float32(self):
        model, x = self.build().train(), self.images()
        mask = self.mask(model, x)
        full = model(x, mask)[-1]
        with torch.autocast('cpu', torch.bfloat16):
            half = model(x, mask)[-1]
        half.float().square().mean().backward()
        assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())
        error = (half.float() - full).norm() / full.norm()
        assert error < 0.05
