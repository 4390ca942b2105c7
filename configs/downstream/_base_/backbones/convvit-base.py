# ConvMAE-B's encoder as pretrained by configs/convmae/convmae_convvit-base_*.py.
backbone = dict(
    type='simmim_mm.MaskedConvViT',
    arch='base',
    img_size=224,
    fusion=False,  # layers that only the pretraining uses
)

# For detectors and segmenters: maps of stride 4, 8 and 16.
dense_backbone = dict(backbone, out_indices=(0, 1, 2), drop_path_rate=0.1, frozen_pos_embed=False)
maps = dict(in_channels=[256, 384, 768])
