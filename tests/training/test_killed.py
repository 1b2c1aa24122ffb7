"""What is killed goes on and ends as if it had not been."""

import numpy as np
import pytest

from tests.training.runs import LAST, WEIGHTS, configuration, start, wait_for

pytestmark = pytest.mark.processes

KILLS = 4


@pytest.fixture
def arguments(tmp_path):
    # A checkpoint after each of the 50 batches.
    (tmp_path / "config.yaml").write_text(configuration(max_epochs=5))
    return ["fit", "--config", str(tmp_path / "config.yaml"), "--checkpoints.minutes", "0"]


def test_a_training_killed_at_random_moments_ends_with_the_weights_of_one_that_was_not(tmp_path, arguments):
    whole = start(tmp_path / "whole", *arguments)
    killed, moments = tmp_path / "killed", np.random.default_rng(0).uniform(0, 2, KILLS).tolist()
    for moment in moments:
        process = start(killed, *arguments, "--ckpt_path", "last")
        wait_for(killed / LAST, process)
        process.join(moment)
        process.kill()
        process.join()
    process = start(killed, *arguments, "--ckpt_path", "last")
    process.join()
    whole.join()
    assert (whole.exitcode, process.exitcode) == (0, 0), (killed / "errors").read_text()
    assert (killed / WEIGHTS).read_bytes() == (tmp_path / "whole" / WEIGHTS).read_bytes(), moments
