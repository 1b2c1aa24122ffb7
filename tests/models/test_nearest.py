import pytest
import torch

from sll_zoo.models.nearest import NearestNeighbour


def test_nearest_neighbour_is_the_distance_to_the_nearest_image_of_a_class():
    images, labels = torch.rand(20, 1, 4, 4), torch.arange(20) % 3
    x = torch.rand(5, 1, 4, 4)
    logits = NearestNeighbour(images, labels, 3)(x)
    for i in range(5):
        for label in range(3):
            expected = -min((x[i] - image).norm().item() for image in images[labels == label])
            assert logits[i, label].item() == pytest.approx(expected, rel=1e-5)
