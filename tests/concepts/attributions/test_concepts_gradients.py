import numpy as np
import pytest
import torch
from torch import nn

from genmend.concepts.attributions.distilled_gradient import DistilledGradient
from genmend.concepts.attributions.full_gradient import FullGradient, input_and_biases
from genmend.concepts.attributions.guided_path import GuidedIntegratedGradients
from genmend.concepts.scalar_target import score_and_gradient, target_scores


def relu_net() -> nn.Module:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1),
        nn.BatchNorm2d(6),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 5, 3, bias=False),
        nn.BatchNorm2d(5, affine=False),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(20, 4),
    )
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
            if module.affine:
                nn.init.normal_(module.weight)
                nn.init.normal_(module.bias)
    return net.eval()


IMAGES = torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(1)) - 0.5


def test_what_input_and_biases_give_is_the_score_of_a_piecewise_linear_network():
    net, target = relu_net(), torch.tensor([0, 3, 1])
    parts = input_and_biases(net, IMAGES, target)
    torch.testing.assert_close((IMAGES * parts.gradient).flatten(1).sum(1) + parts.biases, parts.score)
    torch.testing.assert_close(parts.score, net(IMAGES)[range(3), target].detach())
    assert parts.biases.abs().min() > 1e-2, "a network whose biases give something"
    assert not any(module._forward_hooks for module in net.modules())


def test_the_biases_as_a_remainder_are_those_of_the_layers():
    net = relu_net()
    whole = DistilledGradient(net, n_steps=6).attribute(IMAGES, 2)
    one_by_one = DistilledGradient(net, n_steps=6, bias="layers").attribute(IMAGES, 2)
    torch.testing.assert_close(whole, one_by_one)
    assert not torch.allclose(whole, DistilledGradient(net, n_steps=6, bias="none").attribute(IMAGES, 2))


def test_distilled_gradient_is_the_papers_algorithm():
    """Algorithm 1 by loops over single numbers, with counts for the ranks."""
    net, steps, q, beta = relu_net(), 4, 0.7, 0.25
    got = DistilledGradient(net, n_steps=steps, quantile=q, negative=beta).attribute(IMAGES[:1], 1)
    original = IMAGES[:1].double()
    net = net.double()
    purified, total = original.clone(), torch.zeros_like(original)
    for n in range(steps + 1):
        score, gradient = score_and_gradient(net, purified, 1)
        local = purified * gradient
        local = local + (score - local.sum()) / local.numel()
        total += local.clamp_min(0) + beta * local.clamp_max(0)
        flat = local.flatten()
        weights = []
        for value in flat:
            strong = float((flat.abs() <= value.abs()).double().mean() > n / steps)
            tame = float((flat <= value).double().mean() <= q)
            weights.append(n / steps * strong + (1 - n / steps) * tame)
        purified = original * torch.tensor(weights).reshape(original.shape)
    torch.testing.assert_close(got.double(), total / (steps + 1), rtol=1e-4, atol=1e-7)


def test_full_gradient_is_the_sum_of_every_channels_map_at_the_size_of_the_input():
    """Equation 7, channel by channel."""
    net, expected = relu_net(), torch.zeros(3, 1, 8, 8)

    def scaled(maps):
        low, high = (each.reshape(-1, 1, 1, 1) for each in torch.aminmax(maps.flatten(1), dim=1))
        return (maps - low) / (high - low)

    def add(module, part):
        if part.ndim == 4:
            for channel in scaled(part.abs()).unbind(1):
                expected.add_(nn.functional.interpolate(channel.unsqueeze(1), size=(8, 8), mode="bilinear"))

    parts = input_and_biases(net, IMAGES, 2, keep=add)
    expected += scaled((parts.gradient * IMAGES).abs()).sum(1, keepdim=True)
    torch.testing.assert_close(FullGradient(net).attribute(IMAGES, 2), expected)


@pytest.mark.parametrize(
    "method",
    [
        lambda net: DistilledGradient(net, n_steps=5),
        lambda net: DistilledGradient(net, n_steps=5, ranks="pixel"),
        lambda net: GuidedIntegratedGradients(net, n_steps=5),
        FullGradient,
    ],
)
def test_a_sample_is_explained_alike_alone_and_in_a_batch(method):
    net, target = relu_net(), torch.tensor([0, 3, 1])
    together = method(net).attribute(IMAGES, target)
    alone = torch.cat([method(net).attribute(IMAGES[i : i + 1], int(target[i])) for i in range(3)])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-6)
    assert IMAGES.grad is None
    assert all(parameter.grad is None for parameter in net.parameters())


def test_ranks_by_pixel_dim_all_channels_of_a_pixel():
    seen = []

    class Watched(nn.Module):
        def forward(self, images):
            seen.append(images.detach().clone())
            return images.pow(2).flatten(1).sum(1, keepdim=True)

    DistilledGradient(Watched().eval(), n_steps=4, ranks="pixel").attribute(IMAGES + 1, 0)
    steps = [given for given in seen if len(given) == len(IMAGES)]  # one image alone tells whether two runs agree
    assert len(steps) == 5
    for given in steps[1:]:
        weights = given / (IMAGES + 1)
        torch.testing.assert_close(weights[:, :1].expand_as(weights), weights)
    assert any((given == 0).any() for given in seen[1:])


def test_guided_path_adds_up_and_is_straight_where_nothing_may_run_ahead():
    net = relu_net()
    difference = (net(IMAGES) - net(torch.zeros_like(IMAGES)))[:, 1].detach()
    found = GuidedIntegratedGradients(net, n_steps=150).attribute(IMAGES, 1)
    torch.testing.assert_close(found.flatten(1).sum(1), difference, rtol=0.05, atol=5e-3)
    straight = GuidedIntegratedGradients(net, n_steps=20, max_distance=0).attribute(IMAGES, 1)
    steps = [score_and_gradient(net, IMAGES * step / 20, 1)[1] for step in range(20)]
    torch.testing.assert_close(straight, IMAGES * torch.stack(steps).mean(0), rtol=1e-3, atol=1e-6)


def test_guided_path_moves_the_small_gradients_first():
    class Steep(nn.Module):
        def forward(self, inputs):
            return (inputs * torch.tensor([0.1, 1.0, 5.0, 9.0])).sum(1, keepdim=True)

    path = GuidedIntegratedGradients(Steep().eval(), n_steps=2, max_distance=1.0)
    start, end = torch.zeros(1, 4), torch.ones(1, 4)
    gradient = torch.tensor([[0.1, 1.0, 5.0, 9.0]])
    half = path._move(start, start, end, gradient, 0, torch.tensor([4.0]))
    assert half.tolist() == [[1, 1, 0, 0]]
    torch.testing.assert_close(path.attribute(end, 0), gradient)


@pytest.mark.parametrize(
    ("inputs", "target", "says"),
    [
        (IMAGES.clone().index_fill_(0, torch.tensor([1]), float("nan")), 0, "sample 1 of the inputs holds NaN"),
        (IMAGES, 4, "target 4 is no class of the model: it has 4, 0 to 3"),
        (IMAGES, [0, 1], r"target has shape \(2,\) for 3 samples"),
        (IMAGES, None, "no target says which is meant"),
        (IMAGES, 0.5, "whole numbers"),
        (IMAGES[:0], 0, "at least one sample"),
        (IMAGES.numpy(), 0, "is a ndarray"),
        ((IMAGES * 9).long(), 0, "floating-point numbers"),
    ],
)
def test_what_cannot_be_explained_is_said(inputs, target, says):
    with pytest.raises((TypeError, ValueError), match=says):
        DistilledGradient(relu_net(), n_steps=2).attribute(inputs, target)


def test_a_model_in_training_mode_is_refused():
    with pytest.raises(ValueError, match=r"model\.eval\(\)"):
        DistilledGradient(relu_net().train())
    with pytest.raises(TypeError, match=r"torch\.nn\.Module"):
        FullGradient(torch.relu)


def test_a_score_without_a_gradient_is_named():
    class Detached(nn.Module):
        def forward(self, images):
            return images.detach().mean((1, 2))

    with pytest.raises(ValueError, match="differentiable"):
        DistilledGradient(Detached().eval(), n_steps=2).attribute(IMAGES, 0)


def test_one_number_a_sample_needs_no_target():
    scores = target_scores(lambda images: images.mean((1, 2, 3), keepdim=True), IMAGES, None)
    np.testing.assert_allclose(scores, IMAGES.mean((1, 2, 3)))
