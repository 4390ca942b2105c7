#!/usr/bin/env bash
# transformers: a Swin model gives other features for an image if it has seen a smaller one before
#
# One would guess: in eval() mode the output depends on the input and the weights. The model takes images of
# other sizes than image_size, so a model made for 224 pixels gives at 448 what it always gives at 448.
# What happens: a layer whose feature map is not larger than the window sets its own shift to 0 (there is
# nothing to shift), and never sets it back. After one image of 224 pixels the last stage works without
# shifted windows for good: nothing is stored in the weights, so a fresh copy of the same checkpoint gives
# other numbers. Swin v2 decides by image_size when it is built, and is not concerned.
#
# Versions: transformers 5.24.0, torch 2.14.1 (Python 3.11), seen on 2026-11-28, a small Swin of four stages
# with window 7, the same 448-pixel image before and after one of 224 pixels:
#   SwinModel    expected 0, seen a largest difference of 0.18 (4.0% of the features' deviation)
#   Swinv2Model  0
#
# Why it matters: a test at several sizes, a detector's training at random sizes, or one picture drawn at 224
# pixels during a run at 448 changes the network. Two evaluations of one checkpoint differ by the order
# of their images, and resuming differs from going on.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
"${PYTHON:-python3}" -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check \
    transformers==5.24.0 torch==2.14.1 numpy==2.4.6
cd "$dir"
export HF_HUB_OFFLINE=1 HF_HOME="$dir/home" OMP_NUM_THREADS=1
"$dir/venv/bin/python" - <<'PY'
import torch
import transformers
from transformers import SwinConfig, SwinModel, Swinv2Config, Swinv2Model

print('transformers', transformers.__version__, 'torch', torch.__version__.split('+')[0])


@torch.no_grad()
def change(config_class, model_class):
    torch.manual_seed(0)
    config = config_class(image_size=224, window_size=7, embed_dim=24, depths=[2, 2, 2, 2], num_heads=[2, 4, 8, 16])
    model = model_class(config).eval()
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    large, small = torch.randn(1, 3, 448, 448), torch.randn(1, 3, 224, 224)
    before = model(large).last_hidden_state
    assert torch.equal(before, model(large).last_hidden_state)  # the control
    model(small)
    after = model(large).last_hidden_state
    assert all(torch.equal(tensor, weights[name]) for name, tensor in model.state_dict().items())
    fresh = model_class(config).eval()
    fresh.load_state_dict(model.state_dict())
    assert torch.allclose(fresh(large).last_hidden_state, before, atol=1e-5)
    largest, share = float((after - before).abs().max()), float((after - before).std() / before.std())
    print(f'{model_class.__name__:12} expected 0, seen {largest:.2f} ({share:.1%} of the deviation)')
    return share


assert change(SwinConfig, SwinModel) > 0.01
assert change(Swinv2Config, Swinv2Model) == 0
PY
