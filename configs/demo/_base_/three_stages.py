# The Swin of three stages that transfer_pretrain.py trains, as a change to the Swin of four stages
# of the configs in configs/downstream.
three_stages = dict(
    arch=dict(depths=[2, 2, 4], num_heads=[2, 4, 8]), out_indices=(0, 1, 2), drop_path_rate=0.0
)
three_maps = dict(in_channels=[48, 96, 192])
