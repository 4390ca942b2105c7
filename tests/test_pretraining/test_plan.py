"""What is chosen for given images and a given machine."""

from dataclasses import replace

import pytest
from mmengine.config import Config

from simmim_mm.pretraining.config_file import config_text
from simmim_mm.pretraining.facts import Facts, Machine
from simmim_mm.pretraining.plan import (
    BACKBONES,
    MAX_EPOCHS,
    METHODS,
    PlanError,
    Wishes,
    describe,
    make_plan,
)
from simmim_mm.registry import MODELS

PHOTOS = Facts('/photos', 600, 375, 375 * 500, 'rgb', 'uint8', 0, 255, [120.0] * 3, [60.0] * 3, [])
CPU, GPU = Machine(0, 2, True), Machine(80 * 2**30, 16, True)


def plan_for(machine=CPU, facts=PHOTOS, **wishes):
    return make_plan(facts, machine, Wishes(**wishes))


def test_size_follows_machine_and_images():
    assert (plan_for().backbone, plan_for().img_size) == ('swin-micro', 96)
    assert (plan_for(GPU).backbone, plan_for(GPU).img_size) == ('swin-tiny', 192)
    assert plan_for(GPU, PHOTOS._replace(number=100_000)).backbone == 'swin-base'
    small = PHOTOS._replace(side=70)
    assert plan_for(facts=small).img_size == 64  # never enlarged
    assert '70 pixels' in plan_for(facts=small).reasons['img_size']


def test_few_images_are_seen_in_several_steps_an_epoch():
    plan = plan_for(facts=PHOTOS._replace(number=40))
    assert plan.batches_per_epoch >= 4
    assert plan.lr < plan_for().lr


def test_what_is_asked_for_stays():
    wishes = dict(
        backbone='resnet50', method='pixmim', img_size=64, batch_size=8, lr=0.25, epochs=3
    )
    plan = plan_for(**wishes)
    assert {name: getattr(plan, name) for name in wishes} == wishes
    assert plan.reasons['backbone'] == 'as asked for'


def test_length_fills_the_time():
    plan = plan_for().lasting(seconds=100, per_batch=0.1)
    assert (plan.epochs, plan.iters, plan.seconds) == (None, 1000, 100)
    rows = {row[0]: row[1] for row in describe(plan, '')}
    assert rows['length'] == '107 epochs, 1,000 iterations'  # the last batch is of 24 images
    few = plan_for(facts=PHOTOS._replace(number=40)).lasting(3600, 0.1)
    assert few.iters == MAX_EPOCHS * few.batches_per_epoch and not few.may_extend
    assert plan.may_extend


def test_config_keeps_the_time():
    for number, seconds, extends in ((600, 100, True), (40, 3600, False)):
        plan = plan_for(facts=PHOTOS._replace(number=number)).lasting(seconds, 0.1)
        cfg = Config.fromstring(config_text(plan, 'work'), '.py')
        assert cfg.train_cfg.type == 'TimedTrainLoop' and cfg.train_cfg.seconds == seconds
        assert cfg.train_cfg.max_iters == cfg.param_scheduler[-1].end == plan.iters
        assert cfg.train_cfg.get('extend', True) == extends
        assert cfg.default_hooks.param_scheduler.type == 'TimedSchedulerHook'


def test_little_time_is_spent_in_smaller_batches():
    plan = plan_for().in_enough_steps(seconds=100, per_batch=0.8)
    assert plan.batch_size == 16  # 500 steps instead of 125
    assert plan.lr == pytest.approx(plan_for().lr / 2, rel=0.05)  # by the root of the batch
    assert plan_for().in_enough_steps(1, 0.8).batch_size == 8
    assert plan_for().in_enough_steps(1000, 0.8).batch_size == 64
    assert plan_for(lr=0.1).in_enough_steps(1, 0.8).lr == 0.1


def test_halved_batch_keeps_the_images_of_a_step():
    plan = replace(plan_for(), iters=100, epochs=None)
    half = plan.halved()
    assert (half.micro_batch, half.accumulate, half.batch_size) == (32, 2, 64)
    assert half.iters == 200  # as many steps of the optimizer
    with pytest.raises(PlanError, match='one image of 96 pixels'):
        replace(plan, batch_size=1).halved()


@pytest.mark.parametrize(
    'wishes, message',
    [
        (dict(backbone='swin-tin'), '--backbone must be one of swin-micro, '),
        (dict(method='mae', backbone='swin-tiny'), '--backbone vit-small'),
        (dict(img_size=100), '--img-size must be one of 32, 64'),
        (dict(minutes=-1), '--minutes must be positive'),
        (dict(minutes=1, epochs=1), 'give one of them'),
    ],
)
def test_contradictions_are_refused(wishes, message):
    with pytest.raises(PlanError, match=message):
        plan_for(**wishes)


@pytest.mark.parametrize('number', [1, 7])
def test_too_few_images_are_refused(number):
    with pytest.raises(PlanError, match=f'/photos holds {number} image.*at least 8'):
        plan_for(facts=PHOTOS._replace(number=number))


@pytest.mark.parametrize('method', METHODS)
@pytest.mark.parametrize('backbone', BACKBONES)
def test_every_config_describes_the_plan(backbone, method):
    if method == 'mae' and not backbone.startswith('vit'):
        return
    facts = PHOTOS._replace(channels=5, mean=[1.0] * 5, std=[2.0] * 5)
    plan = plan_for(GPU, facts, backbone=backbone, method=method, epochs=30, lr=0.5, seed=7)
    cfg = Config.fromstring(config_text(plan, 'work'), '.py')
    steps = {step.type: step for step in cfg.train_dataloader.dataset.pipeline}
    assert steps['LoadImage'].channels == 5
    assert steps['RandomBlockMask'].mask_patch_size == plan.block
    assert steps['RandomBlockMask'].mask_ratio == (0.6 if cfg.model.neck.type[0] == 'P' else 0.75)
    assert cfg.optim_wrapper.optimizer.lr == 0.5 and cfg.randomness.seed == 7
    assert cfg.train_cfg.max_epochs == cfg.param_scheduler[-1].end == 30
    assert cfg.model.data_preprocessor.std == [2.0] * 5
    lowest = [target.type for target in cfg.model.get('target', [])]
    assert ('LowFreq' in lowest) == (method == 'pixmim')
    if not backbone.endswith('base'):
        MODELS.build(dict(cfg.model, type='simmim_mm.MaskedImageModel'))
