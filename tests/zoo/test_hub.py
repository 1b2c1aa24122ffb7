"""The real client against the Hub of ``tests.hub``, in a process of its own: it reads HF_ENDPOINT when it is imported."""

import subprocess
import sys

import pytest

from sll_zoo.zoo.weights import CHECKPOINTS
from tests.hub import faults


def certify(name, environment):
    command = [sys.executable, "-m", "sll_zoo", "certify", name, "digits"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)


def test_weights_come_from_the_hub_once_and_then_from_its_cache(hub, tmp_path):
    shipped = CHECKPOINTS / "sll_nano.digits"
    hub.put("org/name", {path.name: path.read_bytes() for path in shipped.iterdir()})
    online = hub.environment(tmp_path)
    run = certify("hf-hub:org/name", online)
    assert run.returncode == 0, run.stderr
    assert "400 images" in run.stdout
    assert {request.path for request in hub.asked(method="GET")} >= {
        "/org/name/resolve/main/config.json",
        "/org/name/resolve/main/model.safetensors",
    }
    for unreachable in ({"HF_ENDPOINT": "http://127.0.0.1:9"}, {"HF_HUB_OFFLINE": "1"}):
        asked = len(hub.requests)
        assert certify("hf-hub:org/name", online | unreachable).returncode == 0
        assert len(hub.requests) == asked


@pytest.mark.parametrize("name", ["org/absent", "org/empty", "dropped/name"])
def test_what_the_hub_does_not_have_is_a_line_and_status_2(hub, tmp_path, name):
    hub.put("org/empty", {})
    hub.fault(faults.unanswered(), "/dropped/*")
    run = certify(f"hf-hub:{name}", hub.environment(tmp_path))
    assert run.returncode == 2
    assert len(run.stderr.strip().splitlines()) == 1
    assert "could not be had from http://127.0.0.1" in run.stderr
