"""The loss curves that test_golden_curves.py holds the methods to.

After a change that is meant to alter a method, write them anew and say why in the commit::

    python tests/golden_curves.py
"""

import json
from pathlib import Path
from zlib import crc32

import numpy as np
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope

from simmim_mm.registry import MODELS, TRANSFORMS

ROOT = Path(__file__).parents[1]
FILE = ROOT / 'tests' / 'fixtures' / 'golden_curves.json'
STEPS = 30
BATCH = 4

SWIN = dict(embed_dims=16, depths=[1, 2], num_heads=[2, 4])
SWIN_V2 = dict(SWIN, extra_norm_every_n_blocks=0)
VIT = dict(embed_dims=32, num_layers=2, num_heads=2, feedforward_channels=64)
CONV_VIT = dict(embed_dims=(8, 16, 32), depths=(1, 1, 2), num_heads=2, mlp_ratios=(2, 2, 2))
RESNET = dict(num_stages=2, strides=(1, 2), dilations=(1, 1), stem_channels=8, base_channels=8)
DECODER = dict(decoder_embed_dim=16, decoder_depth=1, decoder_num_heads=2)

swin = dict(arch=SWIN, window_size=4, out_indices=(1,))
swin_v2 = dict(arch=SWIN_V2, window_size=4, out_indices=(1,))
resnet = dict(depth=18, out_indices=(1,), **RESNET)
convnext = dict(arch=dict(depths=[1, 2], channels=[8, 16]), out_indices=(1,))
vit = dict(arch=VIT, patch_size=8)
conv_vit = dict(arch=CONV_VIT, patch_sizes=(2, 2, 2))

# recipe; side of a masked block in images of 64 pixels; what makes the backbone and decoder small
METHODS = {
    'SimMIM, Swin': ('simmim/simmim_swin-micro-w6_1xb64-coslr-100e_folder-96px', 8, swin, {}),
    'SimMIM, Swin v2': (
        'simmim/simmim_swinv2-base-w12_16xb128-amp-steplr-800e_in1k-192px',
        *(8, swin_v2, {}),
    ),
    'SimMIM, ViT': ('simmim/simmim_vit-small-p16_1xb128-amp-coslr-100e_in1k-224px', 8, vit, {}),
    'SimMIM, ResNet': ('simmim/simmim_resnet50_1xb64-amp-coslr-100e_folder-192px', 8, resnet, {}),
    'SimMIM, ConvNeXt': (
        'simmim/simmim_convnext-tiny_8xb256-amp-coslr-100e_in1k-192px',
        *(8, convnext, {}),
    ),
    'MAE': ('mae/mae_vit-micro-p8_1xb64-coslr-300e_folder-96px', 8, vit, DECODER),
    'ConvMAE': ('convmae/convmae_convvit-tiny_1xb64-coslr-300e_folder-128px', 8, conv_vit, DECODER),
    'LSMAE': ('lsmae/lsmae_vit-micro-p8_1xb64-coslr-300e_folder-128px', 16, vit, DECODER),
    'PixMIM, SimMIM': (
        'pixmim/pixmim_simmim_swin-micro-w6_1xb64-coslr-100e_folder-96px',
        *(8, swin, {}),
    ),
    'PixMIM, MAE': ('pixmim/pixmim_mae_vit-micro-p8_1xb64-coslr-300e_folder-96px', 8, vit, DECODER),
    'PixMIM, ConvMAE': (
        'pixmim/pixmim_convmae_convvit-base_24xb128-amp-coslr-1600e_in1k',
        *(8, conv_vit, DECODER),
    ),
    'PixMIM, LSMAE': (
        'pixmim/pixmim_lsmae_vit-base-p16_32xb128-amp-coslr-800e_in1k-448px',
        *(16, vit, DECODER),
    ),
}


def images(size: int = 64) -> list[np.ndarray]:
    """``BATCH`` uint8 images of colored stripes: whole numbers, the same on every machine."""
    y, x = np.mgrid[:size, :size]
    waves = ((2 + i, 5 - i, 7 * i) for i in range(3 * BATCH))
    planes = [255 - abs((a * x + b * y + c) * 3 % 510 - 255) for a, b, c in waves]
    return list(np.stack(planes).reshape(BATCH, 3, size, size).transpose(0, 2, 3, 1).astype('u1'))


def set_weights(model: torch.nn.Module) -> None:
    """Give weights values that depend on their name and shape alone, not on a torch version.

    Vectors (biases, norms, scales) begin as the model has them, which is constant.
    """
    for name, weight in model.named_parameters():
        if weight.requires_grad and weight.ndim > 1:
            draw = np.random.RandomState(crc32(name.encode())).standard_normal(weight.shape)
            weight.data = torch.from_numpy(draw / weight[0].numel() ** 0.5).float()


def small_config(recipe: str, block: int, backbone: dict, neck: dict) -> Config:
    """The recipe of a method with a small model, for images of 64 pixels."""
    cfg = Config.fromfile(ROOT / 'configs' / f'{recipe}.py')
    small = dict(img_size=64) if 'img_size' in cfg.model.backbone else {}
    kept = {k: v for k, v in cfg.model.backbone.items() if k in ('type', 'mask_mode')}
    cfg.model.backbone = dict(kept, **small, **backbone)
    cfg.model.neck.update(neck)
    for step in cfg.train_dataloader.dataset.pipeline:
        if step['type'].endswith('Mask'):
            step.mask_patch_size = block
        elif 'Crop' in step['type']:
            step.update({'size' if 'size' in step else 'scale': 64})
    for key in ('dtype', 'loss_scale'):
        cfg.optim_wrapper.pop(key, None)
    cfg.optim_wrapper.type = 'OptimWrapper'
    return cfg


def curve(method: str, lr_factor: float = 1.0, mask_ratio: float | None = None) -> list[float]:
    """Losses of ``STEPS`` steps of a method: its recipe, with a small model and generated images.

    Model, target, loss, mask and optimizer are the recipe's, at its learning rate without warm-up,
    in float32.
    """
    cfg = small_config(*METHODS[method])
    init_default_scope('simmim_mm')
    torch.manual_seed(0)
    np.random.seed(0)
    model = MODELS.build(cfg.model)
    model.init_weights()
    set_weights(model)
    model.train()

    pipeline = cfg.train_dataloader.dataset.pipeline
    mask_cfg = dict(next(step for step in pipeline if step['type'].endswith('Mask')))
    mask_cfg.update(mask_ratio=mask_ratio or mask_cfg['mask_ratio'])
    mask, pack = TRANSFORMS.build(mask_cfg), TRANSFORMS.build(pipeline[-1])

    cfg.optim_wrapper.optimizer.lr *= lr_factor
    optim_wrapper = build_optim_wrapper(model, cfg.optim_wrapper)

    losses = []
    for _ in range(STEPS):
        samples = [pack(mask(dict(img=img.copy()))) for img in images()]
        batch = {key: [sample[key] for sample in samples] for key in samples[0]}
        losses.append(model.train_step(batch, optim_wrapper)['loss'].item())
    return losses


if __name__ == '__main__':
    curves = {method: [float(f'{loss:.6g}') for loss in curve(method)] for method in METHODS}
    lines = [f'{json.dumps(method)}: {json.dumps(losses)}' for method, losses in curves.items()]
    FILE.write_text('{\n' + ',\n'.join(lines) + '\n}\n')
