# UPerNet on a plain ViT: maps of four blocks, brought to strides 4 to 32.
_base_ = [
    '_base_/upernet_vit.py',
    '_base_/ade20k_80k.py',
    '_base_/runtime.py',
]

checkpoint = None  # of the pretraining; None: from scratch
pretrained = checkpoint and dict(type='Pretrained', checkpoint=checkpoint, prefix='backbone.')

model = dict(
    data_preprocessor=dict(size=(512, 512)),
    backbone=dict(
        _delete_=True,
        type='simmim_mm.MaskedViT',
        arch='base',
        img_size=512,
        patch_size=16,
        mask_mode='gather',
        frozen_pos_embed=False,
        out_indices=(3, 5, 7, 11),
        drop_path_rate=0.1,
        init_cfg=pretrained,
    ),
    decode_head=dict(in_channels=[768] * 4, num_classes=150),
    auxiliary_head=dict(in_channels=768, num_classes=150),
    test_cfg=dict(mode='slide', crop_size=(512, 512), stride=(341, 341)),
)
optim_wrapper = dict(paramwise_cfg=dict(layer_decay_rate=0.65))
