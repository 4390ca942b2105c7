from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.evaluator import Evaluator
from mmengine.logging import MessageHub
from mmengine.runner import LogProcessor
from mmengine.structures import BaseDataElement

from simmim_mm.evaluation import MaskedLoss


def _samples(losses):
    samples = [BaseDataElement(mask=torch.ones(1, 1)) for _ in losses]
    for sample, loss in zip(samples, losses):
        sample.set_field(dict(loss=loss, loss_b=2 * loss), 'masked_losses', field_type='metainfo')
    return samples


@pytest.mark.parametrize('batch_size', [1, 3, 4, 10])
def test_mean_over_images_whatever_the_batches(batch_size):
    # means of batches of 4, 4 and 2 would give another figure
    losses = [0.1 * i * i for i in range(10)]
    evaluator = Evaluator([MaskedLoss()])
    for start in range(0, 10, batch_size):
        evaluator.process(_samples(losses[start : start + batch_size]))
    metrics = evaluator.evaluate(10)
    mean = 0.1 * sum(i * i for i in range(10)) / 10
    assert metrics == pytest.approx({'masked_loss/loss': mean, 'masked_loss/loss_b': 2 * mean})


def test_images_repeated_to_fill_the_last_batch_do_not_count():
    evaluator = Evaluator([MaskedLoss()])
    evaluator.process(_samples([1.0, 2.0, 3.0]))
    evaluator.process(_samples([6.0, 1.0, 2.0]))  # the sampler began again
    assert evaluator.evaluate(4)['masked_loss/loss'] == 3.0


def test_other_results_are_refused():
    with pytest.raises(ValueError, match='no masked_losses'):
        MaskedLoss().process(None, [dict(mask=0)])


def test_order_changes_no_bit():
    losses = torch.rand(100).tolist()
    metric = MaskedLoss()
    results = [dict(loss=v) for v in losses]
    assert metric.compute_metrics(results) == metric.compute_metrics(results[::-1])


def test_log_shows_a_validation_by_itself():
    """mmengine smooths what is called a loss, over validations too."""
    path = Path(__file__).parents[2] / 'configs' / '_base_' / 'default_runtime.py'
    processor = LogProcessor(**Config.fromfile(path).log_processor)
    hub = MessageHub.get_instance('test_log_shows_a_validation_by_itself')
    for value in (1.0, 3.0):
        hub.update_scalar('val/masked_loss/loss', value)
        hub.update_scalar('train/loss', value)
    runner = SimpleNamespace(message_hub=hub)
    assert processor._collect_scalars([], runner, 'val')['masked_loss/loss'] == 3.0
    assert processor._collect_scalars([], runner, 'train')['loss'] == 2.0
