# UPerNet on CamVid at 320 x 240 pixels, in crops of 160. Pixels without a label are 11 there.
_base_ = [
    '../../configs/downstream/segmentation/upernet_swin-micro-w6_1xb4-coslr-4k_folder.py',
    'backbone.py',
]

data_root = 'data/camvid'
classes = ['sky', 'building', 'pole', 'road', 'pavement', 'tree', 'sign_symbol', 'fence', 'car']
classes += ['pedestrian', 'bicyclist']
load_map = dict(type='simmim_mm.LoadSegmentationMap', values={11: 255})
scale, crop_size = (320, 240), (160, 160)
train_pipeline = [
    _base_.load,
    load_map,
    dict(type='RandomResize', scale=scale, ratio_range=(0.75, 1.5), keep_ratio=True),
    dict(type='RandomCrop', crop_size=crop_size, cat_max_ratio=0.75),
    dict(type='RandomFlip', prob=0.5),
    _base_.pack,
]
val_pipeline = [
    _base_.load,
    dict(type='Resize', scale=scale, keep_ratio=True),
    load_map,
    _base_.pack,
]
data = dict(data_root=data_root, img_suffix='.jpg', metainfo=dict(classes=classes))


def split(name, pipeline):
    prefix = dict(img_path=f'{name}/images', seg_map_path=f'{name}/labels')
    return dict(dataset=dict(data, data_prefix=prefix, pipeline=pipeline))


heads = dict(num_classes=len(classes))
model = dict(
    data_preprocessor=dict(size=crop_size, **_base_.pixels),
    backbone=dict(_base_.lite0, _delete_=True),
    decode_head=dict(heads, in_channels=_base_.channels),
    auxiliary_head=dict(heads, in_channels=_base_.channels[2]),
)
train_dataloader = split('train', train_pipeline)
val_dataloader = test_dataloader = split('val', val_pipeline)
optim_wrapper = _base_.optimization
del split
