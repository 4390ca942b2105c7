# The data of SimMIM (arXiv 2111.09886, section 4.1): crop, flip, mask of square blocks.
#
# The steps of the pipeline are variables, so that a child can replace one and keep the others:
# `crop = dict(_base_.crop, scale=224)`.

data_root = 'data/imagenet/train'  # searched recursively; labels and layout do not matter
img_size = 192

load = dict(type='LoadImage')
crop = dict(
    type='RandomResizedCrop',
    scale=img_size,
    crop_ratio_range=(0.67, 1.0),
    aspect_ratio_range=(3 / 4, 4 / 3),
    interpolation='bilinear',  # Pillow's, which smooths when it shrinks, as in the authors' code
)
flip = dict(type='mmpretrain.RandomFlip', prob=0.5)
mask = dict(type='RandomBlockMask', mask_patch_size=32, mask_ratio=0.6)
pack = dict(type='mmpretrain.PackInputs', algorithm_keys=['mask', 'nodata'])

val_resize = dict(type='ResizeToCover', size=img_size, interpolation='bilinear')
val_crop = dict(type='mmpretrain.CenterCrop', crop_size=img_size)

train_dataloader = dict(
    batch_size=128,  # per GPU; the authors used 16 GPUs
    num_workers=8,
    persistent_workers=True,
    pin_memory=True,
    drop_last=True,
    collate_fn=dict(type='simmim_mm.stack_images'),
    sampler=dict(type='ReproducibleSampler', shuffle=True),
    dataset=dict(type='ImageDataset', data_root=data_root, pipeline=[load, crop, flip, mask, pack]),
)
