# Pretrained by configs/convmae/convmae_convvit-tiny_*.py. Channels of the maps of stride 4, 8, 16.
channels = [48, 96, 192]
backbone = dict(
    type='simmim_mm.MaskedConvViT',
    arch='tiny',
    img_size=128,
    out_indices=(0, 1, 2),
    drop_path_rate=0.1,
    frozen_pos_embed=False,
    fusion=False,  # layers that only the pretraining uses
)
