# What trains on the shapes of `simmim make-shapes`: the demo with SimMIM's mask token, and with
# three stages for the tasks. One position of the last map is one block.
_base_ = '../simmim_demo.py'

model = dict(
    fill=None,
    backbone=dict(
        arch=dict(embed_dims=48, depths=[2, 2, 4], num_heads=[2, 4, 8]), out_indices=(2,)
    ),
)
