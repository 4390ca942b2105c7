# Faster R-CNN on BCCD at 240 x 180 pixels.
_base_ = [
    '../../configs/downstream/detection/faster-rcnn_swin-micro-w6_1xb4-coslr-36e_coco-json.py',
    'backbone.py',
]

data_root = 'data/bccd/'
classes = ('RBC', 'WBC', 'Platelets')
resize = dict(_base_.resize, scale=(240, 180))
pipeline = [_base_.load, _base_.boxes, resize, dict(type='RandomFlip', prob=0.5)]
pack = dict(type='PackDetInputs', meta_keys=_base_.meta_keys)
data = dict(data_root=data_root, data_prefix=dict(img='images/'), metainfo=dict(classes=classes))
model = dict(
    data_preprocessor=_base_.pixels,
    backbone=dict(_base_.lite0, _delete_=True),
    neck=dict(in_channels=_base_.channels),
    roi_head=dict(bbox_head=dict(num_classes=len(classes))),
)
train_dataloader = dict(
    dataset=dict(data, ann_file='train.json', pipeline=[*pipeline, dict(type='PackDetInputs')])
)
val_dataloader = test_dataloader = dict(
    dataset=dict(data, ann_file='val.json', pipeline=[_base_.load, resize, _base_.boxes, pack])
)
val_evaluator = test_evaluator = dict(ann_file=data_root + 'val.json')
optim_wrapper = _base_.optimization
