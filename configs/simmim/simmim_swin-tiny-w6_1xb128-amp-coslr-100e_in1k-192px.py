# SimMIM, Swin-T at 192 pixels, 100 epochs of ImageNet-1k on one GPU.
#
# Not from the paper. The rate is the authors', times the square root of the ratio of the batches.
_base_ = 'simmim_swin-base-w6_8xb256-amp-coslr-100e_in1k-192px.py'

lr = 2e-4

model = dict(backbone=dict(arch='tiny'))
train_dataloader = dict(batch_size=128)
optim_wrapper = dict(optimizer=dict(lr=lr))
auto_scale_lr = dict(base_batch_size=128)
