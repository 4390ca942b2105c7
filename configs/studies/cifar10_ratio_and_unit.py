# How much to mask, and in what pieces? On CIFAR-10, with a model small enough for a core:
#
#   python tools/dataset/cifar10_folders.py data/cifar10
#   python tools/study.py configs/studies/cifar10_ratio_and_unit.py
#
# What came of it: docs/study.md.
base = '../simmim/simmim_swin-nano-w4_1xb128-coslr-200e_cifar10-32px.py'
epochs = 4
options = {
    'model.backbone.arch': dict(embed_dims=32, depths=[1, 1, 2], num_heads=[1, 2, 4]),
    'model.neck.in_channels': 128,
    'optim_wrapper.type': 'AmpOptimWrapper',
    'train_dataloader.num_workers': 0,
    'train_dataloader.persistent_workers': False,
}
sweep = {
    'mask.mask_ratio': [0.3, 0.6, 0.9],
    'mask.mask_patch_size': [2, 4, 8],
}
seeds = 1
probe = dict(type='knn', data='data/cifar10', interval=epochs, batch_size=250)
plots = [dict(x='mask_ratio', group='mask_patch_size'), dict(x='avg_dist', group='mask_patch_size')]
