import logging

import pytest
import torch
from mmengine.logging import MMLogger
from mmengine.optim import OptimWrapper
from torch import nn

from simmim_mm.engine import amp
from simmim_mm.engine.amp import AmpOptimWrapper

on_cpu = pytest.mark.skipif(torch.cuda.is_available(), reason='the CPU path, without a GPU')
on_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')


def _problem(device: str, steps: int, wrapper_type, batch: int = 8, **kwargs):
    """Fit a linear map; returns the model, the losses, and the dtypes of its activations."""
    torch.manual_seed(0)
    model, dtypes = nn.Linear(6, 3).to(device), []
    model.register_forward_hook(lambda module, args, out: dtypes.append(out.dtype))
    x = torch.randn(8, 6).to(device)
    y = x @ torch.randn(6, 3).to(device)
    if wrapper_type is AmpOptimWrapper:
        kwargs.setdefault('loss_scale', 8.0)  # a scaler begins with more, and skips steps
    optim = wrapper_type(optimizer=torch.optim.SGD(model.parameters(), lr=0.1), **kwargs)
    losses = []
    optim.initialize_count_status(model, 0, steps * 8 // batch)
    for _ in range(steps):
        for part, target in zip(x.split(batch), y.split(batch)):
            with optim.optim_context(model):
                pred = model(part)
            loss = (pred.float() - target).square().mean()
            optim.update_params(loss)
            losses.append(loss.item())
    return model, losses, set(dtypes)


@pytest.mark.parametrize('dtype', [None, 'float16', 'bfloat16', torch.bfloat16])
def test_follows_full_precision(device, dtype):
    _, expected, full = _problem(device, 20, OptimWrapper)
    model, losses, half = _problem(device, 20, AmpOptimWrapper, dtype=dtype)
    assert full == {torch.float32}
    is_fp16 = device == 'cuda' and dtype in (None, 'float16')
    assert half == {torch.float16 if is_fp16 else torch.bfloat16}
    assert model.weight.dtype == torch.float32
    assert losses == pytest.approx(expected, rel=0.02)


def test_gradients_are_clipped_at_their_true_size(device):
    before, _, _ = _problem(device, 0, AmpOptimWrapper)
    after, _, _ = _problem(device, 1, AmpOptimWrapper, clip_grad=dict(max_norm=0.01))
    moved = [a - b for a, b in zip(after.parameters(), before.parameters())]
    # SGD of rate 0.1 moves by 0.1 * max_norm, not by that times the scale of the loss
    assert torch.cat([m.flatten() for m in moved]).norm().item() == pytest.approx(1e-3, rel=1e-3)


def test_accumulated_halves_make_the_whole(device):
    whole, _, _ = _problem(device, 5, AmpOptimWrapper)
    halves, _, _ = _problem(device, 5, AmpOptimWrapper, batch=4, accumulative_counts=2)
    start, _, _ = _problem(device, 0, AmpOptimWrapper)
    assert not torch.allclose(whole.weight, start.weight, atol=0.01)
    assert torch.allclose(whole.weight, halves.weight, atol=2e-3)


def test_wrong_dtype(device):
    with pytest.raises(ValueError, match="'float16' or 'bfloat16', got 'float64'"):
        _problem(device, 0, AmpOptimWrapper, dtype='float64')


def _wrapper(device: str, **kwargs) -> AmpOptimWrapper:
    model = nn.Linear(1, 1).to(device)
    return AmpOptimWrapper(optimizer=torch.optim.AdamW(model.parameters(), lr=0.1), **kwargs)


@pytest.mark.parametrize('scaler', [None, {}, dict(scale=8.0, growth_tracker=3)])
def test_resumes_from_any_precision(device, scaler):
    """From a run in float32, in bfloat16, and in fp16 on a GPU."""
    state = _wrapper(device).state_dict()
    state['param_groups'][0]['lr'] = 0.025
    state.pop('loss_scaler')
    if scaler is not None:
        factors = dict(growth_factor=2.0, backoff_factor=0.5, growth_interval=10)
        state['loss_scaler'] = scaler and {**factors, '_growth_tracker': 0, **scaler}
    wrapper = _wrapper(device)
    wrapper.load_state_dict(state)
    assert wrapper.get_lr()['lr'] == [0.025]


def test_an_overflow_leaves_the_step_out_and_halves_the_scale(device):
    """A scale of 2**127 takes gradients of more than 2 beyond float32, as 2**16 does in fp16."""
    model = nn.Linear(1, 1, bias=False).to(device)
    nn.init.zeros_(model.weight)
    optim = AmpOptimWrapper(
        optimizer=torch.optim.SGD(model.parameters(), lr=1.0), clip_grad=dict(max_norm=0.5)
    )
    optim.loss_scaler = torch.amp.GradScaler(device, init_scale=2.0**127)
    moves, scales = [], []
    for _ in range(8):
        before = model.weight.item()
        optim.update_params((model.weight * 24).sum())  # the gradient is 24
        moves.append(before - model.weight.item())
        scales.append(optim.loss_scaler.get_scale())
    # 24 * 2**123 is the first product below 2**128
    assert moves == pytest.approx([0] * 4 + [0.5] * 4, rel=1e-5)
    assert scales == [2.0**exponent for exponent in (126, 125, 124, 123, 123, 123, 123, 123)]


@on_gpu
def test_state_of_the_scaler_is_resumed(device):
    first, second = _wrapper(device, loss_scale=dict(init_scale=64.0)), _wrapper(device)
    second.load_state_dict(first.state_dict())
    assert second.loss_scaler.get_scale() == 64.0


@on_cpu
@pytest.mark.parametrize('fast', [True, False, None])
def test_slow_processors_are_warned_about_once(monkeypatch, caplog, device, fast):
    monkeypatch.setattr(amp, 'cpu_has_bfloat16', lambda: fast)
    logger = MMLogger.get_current_instance()
    logger.addHandler(caplog.handler)
    try:
        _wrapper(device, dtype='float16')
    finally:
        logger.removeHandler(caplog.handler)
    warnings = [r for r in caplog.records if r.levelno == logging.WARNING]
    assert len(warnings) == (fast is False)
    assert all('slower than float32' in r.getMessage() for r in warnings)
