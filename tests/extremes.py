"""Weights at which a careless layer divides by zero, overflows or underflows."""

import torch


def scaled(factor):
    return lambda layer: [parameter.mul_(factor) for parameter in layer.parameters()]


def with_weight(factor):
    return lambda layer: layer.weight.mul_(factor)


def with_zero_row(layer):
    for parameter in layer.parameters():
        parameter.view(parameter.shape or (1,))[0] = 0


def with_one_row(factor):
    return lambda layer: layer.weight[0].mul_(factor)


def with_one_column(factor):
    return lambda layer: layer.weight[:, 0].mul_(factor)


def with_duplicate_rows(layer):
    layer.weight.copy_(layer.weight[:1].clone().expand_as(layer.weight))


def with_logarithms_of_30(layer):
    for name, parameter in layer.named_parameters():
        if name.startswith("log_"):
            parameter.copy_(30.0 * (-1) ** torch.arange(parameter.numel()).view_as(parameter))


EXTREMES = {
    "all at 0": scaled(0.0),
    "all at 1e-8": scaled(1e-8),
    "all at 1e6": scaled(1e6),
    "weight at 1e-20": with_weight(1e-20),
    "weight at 1e18": with_weight(1e18),
    "one row at 1e-20": with_one_row(1e-20),
    "one row at 1e18": with_one_row(1e18),
    "one column at 1e-20": with_one_column(1e-20),
    "one column at 1e18": with_one_column(1e18),
    "zero row": with_zero_row,
    "duplicate rows": with_duplicate_rows,
    "logarithms of ±30": with_logarithms_of_30,
}
