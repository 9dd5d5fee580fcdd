"""Names of devices: those that are there are taken, others refused with what to do."""

import pytest
import torch

from mimrl.errors import ConfigError
from mimrl.mi.devices import checked_device, chosen_device


@pytest.mark.parametrize("name", ["cpu", "meta", "cpu:0"])
def test_a_device_that_is_there_keeps_its_name(name):
    assert checked_device(name) == chosen_device(name) == name


def test_auto_is_a_device_that_is_there(monkeypatch):
    assert checked_device(chosen_device("auto")) in ("cpu", "cuda")
    for there, name in ((True, "cuda"), (False, "cpu")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda there=there: there)
        assert chosen_device("auto") == name
    with pytest.raises(ConfigError, match="device auto cannot"):
        checked_device("auto")


@pytest.mark.parametrize("name", ["abacus", "cuda:99", ""])
def test_a_device_that_is_not_there_is_refused(name):
    with pytest.raises(ConfigError, match=rf"device {name} cannot be used here .*such as cpu"):
        chosen_device(name)
