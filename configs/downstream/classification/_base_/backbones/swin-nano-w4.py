# Pretrained by configs/simmim/simmim_swin-nano-w4_*_cifar10-32px.py.
channels = 256
backbone = dict(
    type='simmim_mm.MaskedSwin',
    arch=dict(embed_dims=64, depths=[2, 2, 4], num_heads=[2, 4, 8]),
    img_size=32,
    patch_size=2,
    window_size=4,
    out_indices=(2,),
)
