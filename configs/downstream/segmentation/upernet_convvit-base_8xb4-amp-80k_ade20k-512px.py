# UPerNet on ConvMAE's encoder: maps of stride 4, 8 and 16.
_base_ = 'upernet_swin-base-w20_8xb4-amp-80k_ade20k-512px.py'

checkpoint = None  # of the pretraining; None: from scratch

model = dict(
    data_preprocessor=dict(test_cfg=dict(size_divisor=16)),
    backbone=dict(
        _delete_=True,
        type='simmim_mm.MaskedConvViT',
        arch='base',
        img_size=512,
        out_indices=(0, 1, 2),
        drop_path_rate=0.1,
        frozen_pos_embed=False,
        fusion=False,  # layers that only the pretraining uses
        init_cfg=checkpoint and dict(type='Pretrained', checkpoint=checkpoint, prefix='backbone.'),
    ),
    decode_head=dict(in_channels=[256, 384, 768], in_index=[0, 1, 2]),
    auxiliary_head=dict(in_channels=768),
)
optim_wrapper = dict(paramwise_cfg=dict(layer_decay_rate=0.65))
