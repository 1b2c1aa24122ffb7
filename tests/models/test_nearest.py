import pytest
import torch

from sll_zoo.errors import ConfigError, InputError
from sll_zoo.models.nearest import NearestNeighbour


def test_nearest_neighbour_is_the_distance_to_the_nearest_image_of_a_class():
    images, labels = torch.rand(20, 1, 4, 4), torch.arange(20) % 3
    x = torch.rand(5, 1, 4, 4)
    logits = NearestNeighbour(images, labels, 3)(x)
    for i in range(5):
        for label in range(3):
            expected = -min((x[i] - image).norm().item() for image in images[labels == label])
            assert logits[i, label].item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("labels", "num_classes", "norm", "words"),
    [
        ([0, 1, 2], 3, "1", "norm='1'"),
        ([0, 1, 2], 3, 2, "norm=2"),
        ([0, 1, 2], 4, "2", r"\[0, 1, 2\]"),
        ([0, 1, 2], 2, "2", r"\[0, 1, 2\]"),
        ([-1, 0, 1], 2, "2", r"\[-1, 0, 1\]"),
        ([0, 1], 2, "2", r"\(2,\)"),
        ([0.0, 1.0, 2.0], 3, "2", "float32"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_other_norms_and_classes_without_an_image_are_refused(labels, num_classes, norm, words):
    with pytest.raises(InputError, match=words):
        NearestNeighbour(torch.rand(3, 1, 4, 4), torch.tensor(labels), num_classes, norm)


@pytest.mark.parametrize("num_classes", [0, "3", True])
@pytest.mark.usefixtures("unchecked")
def test_no_number_of_classes_is_refused(num_classes):
    with pytest.raises(ConfigError, match="num_classes="):
        NearestNeighbour(torch.rand(3, 1, 4, 4), torch.arange(3), num_classes)
