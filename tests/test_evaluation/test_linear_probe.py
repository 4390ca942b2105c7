"""The closed form against fits that really leave an image out, and against plain least squares."""

import pytest
import torch

from simmim_mm.evaluation.linear_probe import ridge_probe


def features(count=24, width=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 3
    centers = 3 * torch.randn(3, width, generator=generator)
    noise = torch.randn(count, width, generator=generator)
    return (centers[labels] + 2 * noise).float(), labels


def fit(inputs, target, strength):
    """Weights and intercept of ridge regression by its normal equations; the intercept is free."""
    design = torch.cat([inputs, torch.ones(len(inputs), 1).double()], 1)
    penalty = strength * torch.eye(design.shape[1]).double()
    penalty[-1, -1] = 0
    return torch.linalg.solve(design.T @ design + penalty, design.T @ target)


def scores(inputs, weights):
    return inputs @ weights[:-1] + weights[-1]


@pytest.mark.parametrize('width', [5, 60])  # fewer and more numbers than images
@pytest.mark.parametrize('relative', [1e-2, 1.0])
def test_each_image_is_predicted_by_a_fit_without_it(width, relative):
    bank, labels = features(width=width)
    inputs = bank.double()
    inputs = (inputs - inputs.mean(0)) / inputs.std(0, correction=0)
    strength = relative * torch.linalg.svdvals(inputs).square().mean().item()
    target = torch.nn.functional.one_hot(labels).double()
    expected = []
    for i in range(len(bank)):
        rest = torch.arange(len(bank)) != i
        expected.append(scores(inputs[i], fit(inputs[rest], target[rest], strength)).argmax())
    found = ridge_probe(bank, labels, strengths=(relative,))
    assert found.predicted.tolist() == torch.stack(expected).tolist()
    assert found.predicted.tolist() != labels.tolist() or width == 60


def test_other_images_are_predicted_by_the_fit_of_all():
    (bank, labels), (queries, _) = features(), features(seed=0, count=40)
    mean, scale = bank.double().mean(0), bank.double().std(0, correction=0)
    inputs = (bank.double() - mean) / scale
    strength = 0.1 * torch.linalg.svdvals(inputs).square().mean().item()
    weights = fit(inputs, torch.nn.functional.one_hot(labels).double(), strength)
    expected = scores((queries.double() - mean) / scale, weights).argmax(1)
    found = ridge_probe(bank, labels, queries, strengths=(0.1,))
    assert found.predicted.tolist() == expected.tolist()


def test_noise_asks_for_a_stronger_penalty_than_clean_features():
    labels = torch.arange(40) % 2
    draw = torch.randn(40, 31, generator=torch.Generator().manual_seed(0))
    clean = labels[:, None] + 0.01 * draw[:, :1]
    noise = torch.cat([labels[:, None] + draw[:, :1], draw[:, 1:]], 1)
    assert ridge_probe(noise, labels).strength > 10 * ridge_probe(clean, labels).strength
    assert ridge_probe(clean, labels).predicted.tolist() == labels.tolist()


def test_constant_and_collapsed_features_give_the_most_frequent_class():
    labels = torch.tensor([0, 1, 1, 1, 1])
    assert ridge_probe(torch.full((5, 4), 7.0), labels).predicted.tolist() == [1] * 5
