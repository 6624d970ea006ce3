"""The references in PyTorch have the weights of the networks that they are compared with."""

import pytest
from helpers import PROJECT

WIDTHS = (64, 128, 256, 512, 1024)
# trainable weights of ours and of the plain layers
NETWORKS = [
    ("UNet", {}, 31_037_698),
    ("UNet3Plus", {}, 26_974_658),
    ("UNet3Plus", {"vgg": "vgg16"}, 21_658_562),
    ("UNet3Plus", {"vgg": "vgg19"}, 26_968_258),
]


@pytest.mark.slow  # PyTorch is in no list of requirements
@pytest.mark.parametrize(("name", "options", "weights"), NETWORKS)
def test_weights_and_shapes(name, options, weights, monkeypatch):
    torch = pytest.importorskip("torch")
    monkeypatch.syspath_prepend(str(PROJECT / "benchmarks"))
    import torch_networks

    network = getattr(torch_networks, name)(2, WIDTHS, **options)
    assert sum(parameter.numel() for parameter in network.parameters()) == weights
    with torch.inference_mode():
        assert network(torch.zeros(1, 3, 32, 48)).shape == (1, 2, 32, 48)
