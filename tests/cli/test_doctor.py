"""`podium doctor` tells what works here, writes nothing, and says what to do about the rest."""

import json
import os
import re
import sqlite3
from pathlib import Path

import pytest

from tests.conftest import Podium


def findings(podium: Podium, **options: object) -> dict[str, dict[str, str]]:
    told = json.loads(podium("doctor", "--json", **options).stdout)
    assert told["schema"] == 1
    return {finding["name"]: finding for finding in told["doctor"]["checks"]}


def test_a_sound_installation_works_and_nothing_is_written(podium: Podium, home: Path) -> None:
    result = podium("doctor", "--json")
    assert result.returncode == 0
    assert json.loads(result.stdout)["doctor"]["ok"] is True
    assert not home.exists()


def test_the_report_for_people_ends_with_the_verdict(podium: Podium) -> None:
    result = podium("doctor")
    assert result.returncode == 0
    assert result.stdout.splitlines()[-1] == "Podium works here."
    assert "\x1b" not in result.stdout


def test_whatever_is_not_there_comes_with_advice(podium: Podium) -> None:
    for finding in findings(podium).values():
        assert finding["state"] == "ok" or finding["advice"], finding


def test_a_home_that_cannot_be_written_to_is_bad(podium: Podium) -> None:
    result = podium("doctor", "--json", env={"PODIUM_HOME": "/proc/podium"})
    assert result.returncode == 1
    told = {finding["name"]: finding for finding in json.loads(result.stdout)["doctor"]["checks"]}
    assert told["home"]["state"] == "bad"
    assert "/proc/podium" in told["home"]["value"]
    assert "PODIUM_HOME" in told["home"]["advice"]


def test_a_corrupt_store_is_bad_and_left_as_it_is(podium: Podium, home: Path) -> None:
    home.mkdir()
    database = sqlite3.connect(home / "podium.db")
    database.execute("CREATE TABLE a (b)")
    database.executemany("INSERT INTO a VALUES (?)", [("x" * 500,)] * 100)
    database.commit()
    database.close()
    pages = bytearray((home / "podium.db").read_bytes())
    pages[5000:9000] = b"\xff" * 4000
    (home / "podium.db").write_bytes(pages)

    result = podium("doctor")
    assert result.returncode == 1
    assert "does not work here" in result.stdout
    assert re.search(r"✗ store .*podium\.db: ", result.stdout)
    assert (home / "podium.db").read_bytes() == pages


def test_a_sound_store_is_reported_with_its_size(podium: Podium, home: Path) -> None:
    home.mkdir()
    database = sqlite3.connect(home / "podium.db")
    database.execute("CREATE TABLE a (b)")
    database.close()
    assert "sound" in findings(podium)["store"]["value"]


@pytest.mark.parametrize("told, state", [("NVIDIA H200, 143771 MiB", "ok"), ("", "absent")])
def test_gpus_are_what_nvidia_smi_tells(podium: Podium, tmp_path: Path, told: str, state: str) -> None:
    (tmp_path / "bin").mkdir()
    command = tmp_path / "bin" / "nvidia-smi"
    command.write_text(f"#!/bin/sh\necho '{told}'\n")
    command.chmod(0o755)
    gpu = findings(podium, env={"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"})["gpu"]
    assert gpu["state"] == state
    assert told in gpu["value"]


def test_hosts_come_from_the_ssh_configuration_patterns_left_out(podium: Podium, tmp_path: Path) -> None:
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh" / "config").write_text("Host box gpu-*\n  User me\nHost *\n  Compression no\n")
    ssh = findings(podium, env={"HOME": str(tmp_path)})["ssh"]
    assert ssh["state"] == "ok"
    assert ssh["value"].startswith("box;")


def test_a_hub_that_is_not_there_is_no_fault(podium: Podium) -> None:
    hub = findings(podium, env={"HF_HUB_OFFLINE": "", "HF_ENDPOINT": "http://127.0.0.1:9"})["hub"]
    assert hub["state"] == "absent"


def test_a_token_is_mentioned_and_never_shown(podium: Podium) -> None:
    secret = "hf_verysecret"
    result = podium("doctor", "--json", env={"HF_TOKEN": secret, "RUNPOD_API_KEY": secret})
    assert secret not in result.stdout + result.stderr


def test_a_disk_without_room_for_a_checkpoint_is_bad(podium: Podium, small_disk: Path) -> None:
    told = findings(podium, env={"PODIUM_HOME": str(small_disk / "home")})
    assert told["disk"]["state"] == "bad"
