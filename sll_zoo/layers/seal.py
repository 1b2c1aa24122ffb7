"""Modules that detect a change of their numbers: a proof about the old numbers says nothing about new ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch
import xxhash
from torch import Tensor, nn

from sll_zoo.errors import WeightsError

SETTINGS = (int, float, str, tuple)


class Sealed(nn.Module):
    """A module that can tell whether its tensors and settings are still those it had when it was sealed.

    It compares a hash of their content, at the speed of memory: a tensor's version counter misses what is written through
    ``.data`` or NumPy.

    Attributes:
        is_exact: Whether the tensors were never rounded to less than float64.
    """

    is_exact = True
    _digest = b""

    def seal(self) -> None:
        """Remember tensors and settings as they are now; to be called only by code that has proved its claim about them."""
        tensors = self._tensors()
        self.is_exact = self.is_exact and all(tensor.dtype == torch.float64 for tensor in tensors.values())
        self._digest = self._digest_of(tensors)  # the digest covers is_exact, too

    def is_intact(self) -> bool:
        """Return whether tensors and settings are as they were at :meth:`seal`; False if it was never called."""
        return self._digest == self._digest_of(self._tensors())

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        """Move or convert the tensors, and seal them in their new form if they were intact."""
        before, intact = self._tensors(), self.is_intact()
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]  # of torch
        pairs = list(zip(before.values(), self._tensors().values(), strict=True))
        # Tensors are sealed again only if nothing but a move or a rounding has changed them.
        if any(new.is_meta for _, new in pairs) or not intact or self._digest != self._digest_of(before):
            return self
        if all(torch.equal(old.to(new), new) for old, new in pairs):
            self.seal()
        return self

    def _tensors(self) -> dict[str, Tensor]:
        return {name: tensor.detach() for name, tensor in (*self.named_parameters(), *self.named_buffers())}

    def _digest_of(self, tensors: dict[str, Tensor]) -> bytes:
        digest = xxhash.xxh3_128()
        for name, module in self.named_modules():
            own = {key: value for key, value in vars(module).items() if isinstance(value, SETTINGS) and key != "training"}
            digest.update(f"{name} {type(module)} {own}".encode())
        for name, tensor in tensors.items():
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            if not tensor.is_meta:
                content: Any = tensor.cpu().contiguous().view(-1).view(torch.uint8).numpy()
                digest.update(content)
        return digest.digest()


Module = TypeVar("Module", bound=Sealed)


def sealed(module: Module) -> Module:
    """Seal a module and return it."""
    module.seal()
    return module


def require_intact(module: nn.Module) -> None:
    """Refuse a module with a sealed part that was changed.

    Raises:
        WeightsError: A layer holds other numbers than when it was folded.
    """
    for name, part in module.named_modules():
        if isinstance(part, Sealed) and not part.is_intact():
            raise changed(name or "the network", part)


def changed(name: str, part: nn.Module) -> WeightsError:
    """Return the error about a part that is not as it was sealed."""
    return WeightsError(
        f"{name} ({type(part).__name__}) was changed after it was made, or made by hand, and the proof is of what it was made of",
        "change the network that it was made of, and fold or freeze that again",
    )
