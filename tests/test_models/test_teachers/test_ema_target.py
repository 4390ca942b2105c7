"""The moving average of the student as the teacher, and the guard against collapse."""

import pytest
import torch
from mmengine.logging import MMLogger
from teacher_toys import build, samples

from simmim_mm.models.teachers.relations import rank_me


def images(seed=3):
    return torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(seed))


def step(model, optimizer):
    loss, _ = model.parse_losses(losses := model.loss(images(), samples()))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return losses


@pytest.mark.parametrize('student', ['vit', 'mae'])
def test_the_average_follows_the_student_by_its_formula(student):
    model = build(student, dict(type='EMATarget', momentum=0.3)).train()
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.5)
    key, expected = 'layers.1.ffn.layers.0.0.weight', None
    for t in range(5):
        own = model.backbone.get_parameter(key).detach().clone()
        m = min(0.3, (1 + t) / (10 + t)) if t else 0.0
        expected = own if expected is None else m * expected + (1 - m) * own
        losses = step(model, optimizer)
        average = model.teacher.average.get_parameter(key)
        torch.testing.assert_close(average, expected, rtol=1e-5, atol=1e-7)
        assert not torch.equal(model.backbone.get_parameter(key), own)
    assert int(model.teacher.updates) == 5 and average.grad is None and not average.requires_grad
    target = model.teacher.eval()(images())[0]
    torch.testing.assert_close(target, model.teacher.average(images())[0], rtol=0.1, atol=0.05)
    rows = model.teacher.average(images())[0].flatten(2).transpose(1, 2).flatten(0, 1)
    assert losses['teacher_rank'].item() == pytest.approx(rank_me(rows).item(), rel=0.5)


def test_a_check_and_a_validation_leave_the_average_as_it_is():
    model = build('vit', dict(type='EMATarget')).eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with torch.no_grad():
        model.loss(images(), samples())
        model.predict(images(), samples())
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_a_collapse_is_warned_of_once_until_it_has_recovered(caplog):
    model = build(
        'vit', dict(type='EMATarget', momentum=0.0, rank_interval=1, rank_ratio=0.5)
    ).train()
    norm = model.backbone.ln1
    healthy = norm.weight.detach().clone()

    def warnings(constant):
        with torch.no_grad():  # of a constant backbone, whatever the image
            norm.weight.copy_(torch.zeros_like(healthy) if constant else healthy)
            norm.bias.fill_(1.0 if constant else 0.0)
        logger = MMLogger.get_current_instance()
        logger.addHandler(caplog.handler)
        caplog.clear()
        losses = model.loss(images(), samples())
        logger.removeHandler(caplog.handler)
        found = [r.getMessage() for r in caplog.records if 'RankMe' in r.getMessage()]
        return found, losses['teacher_rank'].item()

    assert warnings(False)[0] == []
    found, rank = warnings(True)
    assert rank == pytest.approx(1, abs=1e-3)
    assert len(found) == 1 and 'has fallen to 1.0' in found[0] and 'collapse' in found[0]
    assert warnings(True)[0] == []
    assert warnings(False)[1] > 3
    assert len(warnings(True)[0]) == 1


@pytest.mark.parametrize('momentum', [-0.1, 1.0])
def test_a_momentum_without_sense_is_refused(momentum):
    with pytest.raises(ValueError, match='momentum of EMATarget'):
        build('vit', dict(type='EMATarget', momentum=momentum))
