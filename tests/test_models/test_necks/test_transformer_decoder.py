import pytest
import torch
from mmpretrain.models import MAEPretrainDecoder
from torch.testing import assert_close

from simmim_mm.masking import patchify
from simmim_mm.models.necks import TransformerDecoder

KWARGS = dict(in_channels=24, decoder_embed_dim=16, decoder_depth=2, decoder_num_heads=4)


def build(seed: int = 0, **kwargs) -> TransformerDecoder:
    torch.manual_seed(seed)
    model = TransformerDecoder(**{**KWARGS, 'img_size': (32, 48), 'patch_size': 8, **kwargs})
    model.init_weights()
    return model.eval()


def random_mask(h: int, w: int, visible: int, batch: int = 2) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    rank = torch.rand(batch, h * w, generator=generator).argsort(1).argsort(1)
    return (rank >= visible).view(batch, h, w)


def test_same_as_mmpretrain_given_its_order_of_tokens():
    model = build(img_size=32)
    reference = MAEPretrainDecoder(16, 8, 3, 24, 16, 2, 4)
    assert not reference.load_state_dict(model.state_dict()).missing_keys
    reference.eval()
    mask = random_mask(4, 4, 5)
    tokens = torch.randn(2, 6, 24)
    # mmpretrain: visible first, then masked; ids_restore sorts them back
    ids_restore = mask.flatten(1).float().argsort(dim=1, stable=True).argsort(1)
    expected = reference(tokens, ids_restore)
    out = model([tokens], mask)
    assert_close(patchify(out, 8).flatten(1, 2), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('size', [(32, 48), (48, 32), (16, 64)])
@pytest.mark.parametrize('channels', [1, 3, 5])
def test_any_grid_and_number_of_channels(size, channels):
    model = build(out_channels=channels)
    h, w = size[0] // 8, size[1] // 8
    out = model([torch.randn(2, 4, 24)], random_mask(h, w, 3))
    assert out.shape == (2, channels, *size) and out.isfinite().all()


def test_other_grid_gets_the_embedding_of_a_model_built_for_it():
    here, there = build(), build(img_size=(48, 40))
    report = there.load_state_dict(here.state_dict())
    assert not report.unexpected_keys
    tokens, mask = torch.randn(2, 4, 24), random_mask(6, 5, 3)
    assert_close(here([tokens], mask), there([tokens], mask), rtol=0, atol=0)


def test_prediction_lies_where_its_token_lies():
    # Without attention a patch depends on its own token alone: change one, one patch changes.
    model = build()
    with torch.no_grad():
        for block in model.decoder_blocks:
            block.attn.proj.weight.zero_()
    mask = random_mask(4, 6, 5)
    tokens = torch.randn(2, 6, 24)
    changed = tokens.clone()
    changed[1, 1 + 2] += 1  # third visible token of the second image
    difference = (model([changed], mask) - model([tokens], mask)).abs().amax(1)
    moved = patchify(difference[:, None], 8).amax(-1) > 1e-6
    place = (~mask[1]).flatten().nonzero()[2].item()
    assert moved.flatten(1)[1].nonzero().flatten().tolist() == [place]
    assert not moved[0].any()


def test_mask_token_and_only_trainable_parameters_learn():
    model = build().train()
    model([torch.randn(2, 4, 24)], random_mask(4, 6, 3)).square().mean().backward()
    assert model.mask_token.grad.any()
    assert model.decoder_pos_embed.grad is None and not model.decoder_pos_embed.requires_grad


def test_no_class_token():
    model = build(with_cls_token=False)
    assert model.decoder_pos_embed.shape[1] == 24
    assert model([torch.randn(2, 3, 24)], random_mask(4, 6, 3)).shape == (2, 3, 32, 48)


def test_wrong_number_of_tokens_is_told():
    with pytest.raises(ValueError, match=r'5 tokens for 3 visible'):
        build()([torch.randn(2, 5, 24)], random_mask(4, 6, 3))


def test_autocast_stays_close_to_float32():
    model, tokens, mask = build().train(), torch.randn(2, 4, 24), random_mask(4, 6, 3)
    full = model([tokens], mask)
    with torch.autocast('cpu', torch.bfloat16):
        half = model([tokens], mask)
    half.float().square().mean().backward()
    assert (half.float() - full).norm() / full.norm() < 0.05
    assert model.mask_token.grad.isfinite().all()
