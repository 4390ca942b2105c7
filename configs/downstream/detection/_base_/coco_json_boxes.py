# As coco_json.py, without masks.
_base_ = 'coco_json.py'

boxes = dict(type='LoadAnnotations', with_bbox=True)
train_dataloader = dict(
    dataset=dict(
        pipeline=[
            _base_.load,
            boxes,
            _base_.resize,
            dict(type='RandomFlip', prob=0.5),
            dict(type='PackDetInputs'),
        ]
    )
)
val_dataloader = dict(
    dataset=dict(
        pipeline=[
            _base_.load,
            _base_.resize,
            boxes,
            dict(type='PackDetInputs', meta_keys=_base_.meta_keys),
        ]
    )
)
val_evaluator = dict(metric='bbox')
test_dataloader = val_dataloader
test_evaluator = val_evaluator
