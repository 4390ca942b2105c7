"""Convolutional networks, and DINOv2, of other libraries: the same features after conversion."""

import pytest
import torch
from torch import nn

import simmim_mm
from simmim_mm.checkpoint import CheckpointError


def randomized(model: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    with torch.no_grad():
        for tensor in model.state_dict().values():
            if tensor.is_floating_point():
                vector = tensor.numel() == max(tensor.shape)
                drawn = torch.rand_like(tensor) + 0.5 if vector else torch.randn_like(tensor)
                tensor.copy_(drawn * (1.0 if vector else 0.1))
    return model.eval()


def compare(model: nn.Module, features, tmp_path, size: int = 64) -> str:
    if hasattr(model, 'save_pretrained'):  # under names that differ from those in memory
        randomized(model).save_pretrained(tmp_path)
        file = tmp_path / 'model.safetensors'
    else:
        file = tmp_path / 'public.pth'
        torch.save(randomized(model).state_dict(), file)
    backbone, report = simmim_mm.load_backbone(file)
    assert report.complete or report.missing == ['mask_token'], report
    x = torch.randn(2, 3, size, size)
    with torch.no_grad():
        ours, theirs = backbone(x)[-1], features(x)
    assert torch.allclose(ours, theirs, rtol=1e-4, atol=1e-4 * theirs.abs().max().item())
    assert ours.std() > 0
    return type(backbone).__name__


@pytest.mark.parametrize('v2', [False, True])
def test_convnext_of_timm(v2, tmp_path):
    timm = pytest.importorskip('timm')
    kind = timm.models.convnext.ConvNeXt
    options = dict(use_grn=True, ls_init_value=None) if v2 else {}
    model = kind(depths=(1, 1, 2, 1), dims=(8, 16, 24, 32), num_classes=2, **options)

    def features(x):  # the last norm is in timm's head
        return model.head.norm(model.forward_features(x))

    assert compare(model, features, tmp_path) == 'MaskedConvNeXt'


@pytest.mark.parametrize('v2', ['', 'V2'])
def test_convnext_of_transformers(v2, tmp_path, transformers):
    config = getattr(transformers, f'ConvNext{v2}Config')(
        depths=[1, 1, 2, 1], hidden_sizes=[8, 16, 24, 32]
    )
    model = getattr(transformers, f'ConvNext{v2}Model')(config)

    def features(x):  # the last norm is of the pooled vector there
        return model.layernorm(model(x).last_hidden_state.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

    assert compare(model, features, tmp_path) == 'MaskedConvNeXt'


@pytest.mark.parametrize('depth', [18, 50])
def test_resnet_of_torchvision(depth, tmp_path):
    from torchvision.models import resnet

    model = getattr(resnet, f'resnet{depth}')(num_classes=2)

    def features(x):
        x = model.maxpool(model.relu(model.bn1(model.conv1(x))))
        return model.layer4(model.layer3(model.layer2(model.layer1(x))))

    assert compare(model, features, tmp_path) == 'MaskedResNet'


def test_other_residual_networks_are_refused(tmp_path):
    from torchvision.models import resnext50_32x4d

    torch.save(resnext50_32x4d().state_dict(), tmp_path / 'public.pth')
    with pytest.raises(CheckpointError, match='not a plain ResNet'):
        simmim_mm.load_backbone(tmp_path / 'public.pth')


DINOV2 = dict(img_size=56, patch_size=14)


def grid(tokens: torch.Tensor, side: int = 4) -> torch.Tensor:
    return tokens[:, 1:].transpose(1, 2).unflatten(2, (side, side))


def test_dinov2_of_timm(tmp_path):
    timm = pytest.importorskip('timm')
    model = timm.models.VisionTransformer(
        **DINOV2, embed_dim=192, depth=2, num_heads=3, init_values=1e-5, num_classes=0
    )
    name = compare(model, lambda x: grid(model.forward_features(x)), tmp_path, 56)
    assert name == 'MaskedViT'


def test_dinov2_of_transformers(tmp_path, transformers):
    config = transformers.Dinov2Config(
        image_size=56, patch_size=14, hidden_size=192, num_hidden_layers=2, num_attention_heads=3
    )
    model = transformers.Dinov2Model(config)
    name = compare(model, lambda x: grid(model(x).last_hidden_state), tmp_path, 56)
    assert name == 'MaskedViT'
