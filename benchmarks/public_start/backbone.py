# EfficientNet-Lite0: 3M parameters, maps of stride 4 to 32. The means are those of its weights.
lite0 = dict(
    type='mmpretrain.TIMMBackbone',
    model_name='tf_efficientnet_lite0',
    features_only=True,
    out_indices=(1, 2, 3, 4),
)
channels = [24, 40, 112, 320]
pixels = dict(mean=[127.5] * 3, std=[127.5] * 3)
optimization = dict(  # the same rate in all layers
    constructor='DefaultOptimWrapperConstructor',
    paramwise_cfg=dict(_delete_=True, flat_decay_mult=0.0),
)
