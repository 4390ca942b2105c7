# How much to mask, and in what pieces? On CIFAR-10, with a model small enough for one core:
#
#   python tools/dataset/cifar10_folders.py data/cifar10
#   python tools/study.py configs/studies/cifar10_ratio_and_unit.py
#
# What came of it: docs/study.md.
base = '../mae/mae_vit-micro-p4_1xb128-coslr-300e_cifar10-32px.py'
epochs = 12
options = {
    'model.backbone.arch': dict(embed_dims=96, num_layers=4, num_heads=3, feedforward_channels=384),
    'model.neck.in_channels': 96,
    'model.neck.decoder_embed_dim': 64,
    'model.neck.decoder_depth': 1,
    'optim_wrapper.optimizer.lr': 1e-3,
    'train_dataloader.num_workers': 0,
}
sweep = {
    'mask.mask_ratio': [0.5, 0.75, 0.9],
    'mask.mask_patch_size': [4, 8],
}
seeds = 1
probe = dict(type='knn', data='data/cifar10', interval=epochs, batch_size=250)
plots = [dict(x='mask_ratio', group='mask_patch_size'), dict(x='avg_dist', group='mask_patch_size')]
