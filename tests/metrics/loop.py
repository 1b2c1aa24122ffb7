"""The metrics again, in plain Python: one image and one class at a time, with exact fractions."""

from fractions import Fraction
from math import inf, isfinite, nan


def certificates(batches, constants):
    """Return (label, correct, radius) of each image; ``constants[y][j]`` is positive."""
    found = []
    for logits, target in batches:
        for row, label in zip(logits.tolist(), target.tolist(), strict=True):
            y = max(range(len(row)), key=row.__getitem__)
            radius = min((row[y] - value) / constants[y][j] for j, value in enumerate(row) if j != y)
            found.append((label, y == label and all(map(isfinite, row)), radius))
    return found


def grouped(found, average, num_classes):
    """Return the images that count together."""
    return [found] if average == "micro" else [[image for image in found if image[0] == label] for label in range(num_classes)]


def averaged(values, average):
    """Return the mean over groups that have images, or all values, NaN where there is no image."""
    if average is None:
        return [nan if value is None else float(value) for value in values]
    present = [value for value in values if value is not None]
    return float(sum(present) / len(present))


def accuracy(found, eps, average="micro", num_classes=None):
    """Return certified accuracy at one radius."""
    groups = grouped(found, average, num_classes)
    counts = [sum(correct and (eps == 0 or radius > eps) for _, correct, radius in group) for group in groups]
    return averaged([Fraction(n, len(group)) if group else None for n, group in zip(counts, groups, strict=True)], average)


def mean_radius(found, cap=inf, average="micro", num_classes=None):
    """Return the mean certified radius."""
    groups = grouped(found, average, num_classes)
    sums = [sum(Fraction(min(radius, cap)) for _, correct, radius in group if correct) for group in groups]
    return averaged([total / len(group) if group else None for total, group in zip(sums, groups, strict=True)], average)
