# SimMIM, ViT-B/16 in BEiT's form at 224 pixels, 800 epochs of ImageNet-1k.
_base_ = [
    '../_base_/datasets/imagenet_simmim.py',
    '../_base_/models/simmim_swin-base.py',
    '../_base_/schedules/simmim_800e.py',
    '../_base_/default_runtime.py',
]

img_size = 224
crop = dict(_base_.crop, scale=img_size)
val_resize = dict(_base_.val_resize, size=img_size)
val_crop = dict(_base_.val_crop, crop_size=img_size)

model = dict(
    # The authors' ViT is BEiT's: one relative position bias shared by all layers instead of a
    # position embedding, layer scale 0.1.
    backbone=dict(
        _delete_=True,
        type='MaskedBEiT',
        arch='base',
        img_size=img_size,
        patch_size=16,
        drop_path_rate=0.1,
        use_abs_pos_emb=False,
        use_rel_pos_bias=False,
        use_shared_rel_pos_bias=True,
        layer_scale_init_value=0.1,
    )
)
train_dataloader = dict(
    dataset=dict(pipeline=[_base_.load, crop, _base_.flip, _base_.mask, _base_.pack])
)
val_dataloader = dict(
    dataset=dict(pipeline=[_base_.load, val_resize, val_crop, _base_.mask, _base_.pack])
)
