"""The device that computes, as options and commands name it."""

from __future__ import annotations

import torch

from mimrl.errors import ConfigError


def checked_device(name: str) -> str:
    """The name of a PyTorch device, such as cpu, cuda, cuda:1 or mps, if it is there.

    Raises:
        ConfigError: PyTorch does not know it or cannot use it.

    >>> checked_device("cpu")
    'cpu'
    """
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(
            f"device {name} cannot be used here (PyTorch: {reason}); take another one, such as cpu"
        ) from None
    return name


def chosen_device(name: str) -> str:
    """As :func:`checked_device`; ``auto`` is a GPU where there is one, else the CPU.

    Raises:
        ConfigError: PyTorch does not know it or cannot use it.
    """
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return checked_device(name)
