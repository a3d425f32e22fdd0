"""What is asked before money is spent, at a terminal and without one."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from engine.controller.renting import request
from engine.errors import BadInput
from tests.conftest import Podium
from tests.controller.runpod.conftest import Laptop, asked, spec
from tests.emulators.runpod import Emulator

CREATE = r"POST /v2/pods$"


@pytest.fixture
def job_file(data: Path, tmp_path: Path) -> Path:
    path = tmp_path / "job.yaml"
    path.write_text(yaml.safe_dump(spec(data, limits={}).to_json()))
    return path


def at_a_terminal(answers: str, *arguments: str | Path) -> tuple[int, str]:
    """The command line with a person before it; its exit status and what it said."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "tui", *map(str, arguments)],
        env={**os.environ, "NO_COLOR": "1"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    os.write(ours, answers.encode())
    said = b""
    while True:
        try:
            said += os.read(ours, 65536)
        except OSError:
            break
    os.close(ours)
    return process.wait(), said.decode()


def test_limits_are_asked_for_and_nothing_is_rented_without_a_yes(runpod: Emulator, job_file: Path) -> None:
    code, said = at_a_terminal("2\n0.5\n\n60\nn\n", "launch", job_file, "--gpu", "L40S", "--gpu-count", "2")
    assert code == 1
    assert "Hours that it may run at most" in said and "Minutes without a sign of life" in said
    assert "2 × L40S, 48 GB each" in said
    # Price times count, of the cheaper cloud first, and its stock.
    assert "2 × $0.79 = $1.58 an hour" in said and "community cloud, high stock" in said
    assert "2 h · $0.50 · 30 min of silence · 60 min for fetching" in said
    # Two hours, boot and fetching would be more than the cap.
    assert "worst cost  $0.50" in said
    assert "Nothing was rented" in said
    assert asked(runpod, CREATE) == 0


def test_without_a_terminal_it_takes_a_yes_and_a_limit(
    podium: Podium, runpod: Emulator, job_file: Path, home: Path
) -> None:
    silent = podium("launch", job_file, "--max-hours", "1")
    assert (silent.returncode, "Give --yes" in silent.stderr) == (2, True)
    boundless = podium("launch", job_file, "--yes")
    assert (boundless.returncode, "needs a limit" in boundless.stderr) == (2, True)
    assert asked(runpod, CREATE) == 0
    assert not home.exists()


def test_a_dry_run_shows_what_it_would_cost_and_rents_and_writes_nothing(
    podium: Podium, runpod: Emulator, job_file: Path, home: Path
) -> None:
    done = podium("launch", job_file, "--dry-run", "--gpu", "L40S", "--gpu-count", "2", "--max-hours", "2")
    assert done.returncode == 0, done.stderr
    assert "# price: 2 × $0.79 = $1.58 an hour" in done.stdout
    assert "# worst cost: $4.87" in done.stdout
    assert asked(runpod, CREATE) == 0
    assert not home.exists()


async def test_a_network_volume_binds_to_its_place_and_outlives_the_pod(
    laptop: Laptop, runpod: Emulator, data: Path
) -> None:
    controller = await laptop.open()
    with pytest.raises(BadInput, match=r"there is no volume 'models'.*The account has: none"):
        await controller.quote(spec(data, rent={"network_volume": "models"}))
    volume = runpod.account.rent_volume({"name": "models", "size": 100, "dataCenter": "US-KS-2"})
    with pytest.raises(BadInput, match="leaves out secure, and a network volume"):
        await controller.quote(spec(data, rent={"network_volume": "models", "clouds": ["community"]}))
    wanted = spec(data, rent={"network_volume": "models"})
    quote = await controller.quote(wanted)
    assert quote.volume is not None and quote.volume.id == volume["id"]
    made = request(wanted, "a-job", quote, "ssh-ed25519 AAAA")
    assert (made.network_volume_id, made.volume_gb) == (volume["id"], None)
    assert made.data_centers == ("US-KS-2",)
    # As many GPUs are asked for as were priced.
    assert made.gpu_count == quote.gpu_count
