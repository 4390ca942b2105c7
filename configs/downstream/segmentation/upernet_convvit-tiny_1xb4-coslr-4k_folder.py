# On ConvMAE's encoder: maps of stride 4, 8 and 16.
_base_ = 'upernet_swin-micro-w6_1xb4-coslr-4k_folder.py'

checkpoint = None  # of the pretraining; None: from scratch

model = dict(
    data_preprocessor=dict(test_cfg=dict(size_divisor=16)),
    backbone=dict(
        _delete_=True,
        type='simmim_mm.MaskedConvViT',
        arch='tiny',
        img_size=128,
        out_indices=(0, 1, 2),
        drop_path_rate=0.1,
        frozen_pos_embed=False,
        fusion=False,  # layers that only the pretraining uses
        init_cfg=checkpoint and dict(type='Pretrained', checkpoint=checkpoint, prefix='backbone.'),
    ),
    decode_head=dict(in_channels=[48, 96, 192], in_index=[0, 1, 2]),
)
