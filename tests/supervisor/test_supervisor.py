"""The way of a job under a real supervisor with a real trainer process."""

from __future__ import annotations

import os
import resource
import signal
import sys
import time
from itertools import pairwise
from pathlib import Path

import pytest

from engine.job.events import EventType
from engine.supervisor.locks import holder
from tests import standin
from tests.processes import contiguous, gone, until
from tests.supervisor.conftest import Bench, end

SLOW = {"steps": 100_000, "delay": 0.02}


def test_a_job_goes_from_running_to_completed_and_leaves_exit_json(bench: Bench) -> None:
    events = bench.run(standin.argv(steps=10))
    assert bench.statuses() == ["running", "completed"]
    assert events[-1].type == EventType.STATE
    assert contiguous(events)
    assert [event.step for event in bench.events(EventType.TRAIN)] == list(range(1, 11))
    ending = bench.exit()
    assert (ending["status"], ending["exit_code"], ending["attempt"]) == ("completed", 0, 1)
    assert ending["error"] == ""
    assert ending["seconds"] > 0
    assert holder(bench.folder.lock) is None


def test_what_the_trainer_prints_is_in_the_log_of_all_attempts(bench: Bench) -> None:
    bench.run(standin.argv(steps=10, crash_at=7, say="a last word"))
    log = bench.folder.log.read_text()
    assert "attempt 1 from step 0" in log
    assert "attempt 2 from step 5" in log
    assert "a last word" in log


def test_heartbeats_carry_the_machines_figures(bench: Bench) -> None:
    bench.run(standin.argv(steps=60))
    hosts = [event.data["host"] for event in bench.events(EventType.HEARTBEAT)]
    assert hosts
    assert 0 < hosts[-1]["memory_used_gb"] < hosts[-1]["memory_total_gb"]
    assert hosts[-1]["disk_free_gb"] > 0
    assert 0 <= hosts[-1]["cpu_percent"] <= 100


def test_a_killed_trainer_is_resumed_from_its_checkpoint_as_attempt_2(bench: Bench) -> None:
    process = bench.start(standin.argv(steps=40, delay=0.03))
    bench.await_step(12)
    os.kill(bench.trainer_pid(), signal.SIGKILL)
    assert process.wait(60) == 0
    (recovery,) = bench.events(EventType.RECOVERY)
    assert recovery.data["failure"] == "killed by SIGKILL"
    assert "attempt 2" in recovery.data["action"]
    second = [event.step for event in bench.events(EventType.TRAIN) if event.attempt == 2]
    assert second[0] % 5 == 1
    assert second[0] > 10
    assert second[-1] == 40
    assert bench.statuses() == ["running", "completed"]
    assert bench.exit()["attempt"] == 2
    assert contiguous(bench.events())


def test_the_same_failure_three_times_ends_the_job_with_its_cause(bench: Bench) -> None:
    bench.spec(limits={"max_restarts": 50})
    trainer = standin.argv(crash_at=3, crash_attempts=99, say="OSError: [Errno 28] No space left on device")
    bench.run(trainer)
    assert bench.statuses() == ["running", "failed"]
    ending = bench.exit()
    assert ending["attempt"] == 3
    assert "No space left on device" in ending["error"]
    assert "3 times" in ending["error"]
    assert "space" in ending["advice"]
    assert ending["exit_code"] == 1
    assert len(bench.events(EventType.RECOVERY)) == 2


def test_a_failure_after_new_checkpoints_is_not_the_same_failure(bench: Bench) -> None:
    bench.spec(limits={"max_restarts": 5})
    # Every attempt gets one checkpoint further before it dies.
    script = (
        "import sys, subprocess, os; a=int(os.environ['PODIUM_ATTEMPT']);"
        f"sys.exit(subprocess.call({standin.argv(steps=30)!r}"
        "+ ['--crash-at', str(5*a+2), '--crash-attempts', '5', sys.argv[-1]]))"
    )
    bench.run([sys.executable, "-c", script])
    assert bench.statuses()[-1] == "completed"
    assert bench.exit()["attempt"] == 6


def test_different_failures_end_the_job_when_the_restarts_are_used_up(bench: Bench) -> None:
    bench.spec(limits={"max_restarts": 1})
    bench.run(standin.argv(crash_at=3, crash_attempts=99, say="ValueError: bad luck"))
    assert bench.exit()["attempt"] == 2
    assert bench.exit()["error"].startswith("exit status 1: ValueError: bad luck")


def test_no_restarts_means_none(bench: Bench) -> None:
    bench.spec(limits={"max_restarts": 0})
    bench.run(standin.argv(crash_at=3, crash_attempts=99))
    assert bench.exit()["attempt"] == 1
    assert bench.statuses() == ["running", "failed"]


def test_a_permanent_failure_is_not_tried_again_and_its_state_is_told_once(bench: Bench) -> None:
    events = bench.run(standin.argv(crash_at=3, crash_attempts=99, code=3, explain=1))
    assert bench.statuses() == ["running", "failed"]
    assert events[-1].type == EventType.STATE
    assert events[-1].data["error"] == "row 7 is broken"
    ending = bench.exit()
    assert (ending["error"], ending["advice"]) == ("row 7 is broken", "Mend row 7.")
    assert (ending["exit_code"], ending["attempt"]) == (3, 1)


def test_a_permanent_failure_that_nobody_explained_is_explained_by_the_log(bench: Bench) -> None:
    bench.run(standin.argv(crash_at=3, crash_attempts=99, code=3, say="KeyError: 'messages'"))
    assert bench.statuses() == ["running", "failed"]
    assert bench.exit()["error"] == "exit status 3: KeyError: 'messages'"


def test_a_trainer_that_leaves_without_a_result_is_started_again(bench: Bench) -> None:
    process = bench.start(standin.argv(steps=30, delay=0.03))
    bench.await_step(3)
    os.kill(bench.trainer_pid(), signal.SIGTERM)
    assert process.wait(60) == 0
    assert bench.statuses() == ["running", "completed"]
    assert bench.exit()["attempt"] == 2


def test_a_trainer_that_can_not_be_started_is_a_failure_with_a_name(bench: Bench) -> None:
    bench.run(["/no/such/trainer"])
    assert bench.statuses() == ["running", "failed"]
    assert "/no/such/trainer" in bench.exit()["error"]


def test_stop_saves_and_cancels(bench: Bench) -> None:
    process = bench.start(standin.argv(**SLOW))
    bench.await_step(3)
    bench.folder.request("stop")
    assert process.wait(60) == 0
    assert bench.statuses() == ["running", "cancelled"]
    last = bench.events(EventType.TRAIN)[-1].step
    assert bench.events(EventType.CHECKPOINT)[-1].step == last
    assert bench.exit()["reason"] == "stopped by the user"
    assert not bench.folder.has_request("stop")


def test_stop_kills_a_trainer_that_does_not_leave_and_says_so(bench: Bench) -> None:
    process = bench.start(standin.argv(**SLOW, stubborn=1, worker=1), stop_grace=0.3)
    bench.await_step(3)
    pid = bench.trainer_pid()
    bench.folder.request("stop")
    assert process.wait(60) == 0
    assert gone(pid)
    assert bench.statuses() == ["running", "cancelled"]
    (alert,) = bench.events(EventType.ALERT)
    assert "SIGKILL" in alert.data["message"]


def test_pause_saves_and_a_later_supervisor_goes_on(bench: Bench) -> None:
    process = bench.start(standin.argv(steps=30, delay=0.03))
    bench.await_step(7)
    bench.folder.request("pause")
    assert process.wait(60) == 0
    assert bench.statuses() == ["running", "paused"]
    assert not bench.folder.exit.exists()
    before = bench.events(EventType.TRAIN)[-1].step
    bench.run(standin.argv(steps=30))
    assert bench.statuses() == ["running", "paused", "running", "completed"]
    assert not bench.events(EventType.RECOVERY)
    second = [event.step for event in bench.events(EventType.TRAIN) if event.attempt == 2]
    assert second == list(range((before or 0) + 1, 31))


def test_max_hours_warns_and_stops(bench: Bench) -> None:
    bench.spec(limits={"max_hours": 0.5 / 3600})
    bench.run(standin.argv(**SLOW))
    assert bench.statuses() == ["running", "cancelled"]
    assert bench.alerts() == ["timeout_warning", "save_limit"]
    assert "max_hours" in bench.exit()["error"]
    assert bench.events(EventType.CHECKPOINT)[-1].step == bench.events(EventType.TRAIN)[-1].step


def test_the_cost_cap_stops(bench: Bench) -> None:
    bench.spec(limits={"max_cost_usd": 1.0}, pod={"cost_per_hour": 7200.0})
    bench.run(standin.argv(**SLOW))
    assert bench.statuses() == ["running", "cancelled"]
    assert bench.alerts() == ["cost_cap", "save_limit"]
    assert "max_cost_usd" in bench.exit()["error"]


def test_hours_count_over_all_supervisors(bench: Bench) -> None:
    bench.spec(limits={"max_hours": 3600 / 3600})
    bench.folder.memory.write_text('{"attempt": 1, "seconds": 3601, "left": true}')
    bench.run(standin.argv(**SLOW))
    assert bench.statuses() == ["cancelled"]
    assert not bench.events(EventType.TRAIN)


def test_a_stalled_trainer_is_started_again(bench: Bench) -> None:
    bench.spec(limits={"stall_minutes": 0.5 / 60})
    bench.run(standin.argv(steps=10, silent_at=7), stall_grace=0.3)
    assert bench.statuses() == ["running", "completed"]
    assert [event.data["alert"] for event in bench.events(EventType.ALERT)] == ["stall"]
    assert "no event" in bench.events(EventType.RECOVERY)[0].data["failure"]
    assert bench.exit()["attempt"] == 2


def test_the_heartbeat_is_no_sign_of_life_of_the_trainer(bench: Bench) -> None:
    bench.spec(limits={"stall_minutes": 0.5 / 60, "max_restarts": 0})
    bench.run(standin.argv(steps=10, silent_at=1), stall_grace=0.2, heartbeat=0.05)
    assert bench.exit()["status"] == "failed"


def test_a_second_supervisor_leaves_at_once_and_harms_nothing(bench: Bench) -> None:
    first = bench.start(standin.argv(**SLOW))
    bench.await_step(2)
    assert bench.start(standin.argv(**SLOW)).wait(60) == 0
    assert first.poll() is None
    assert holder(bench.folder.lock) == first.pid
    assert bench.statuses() == ["running"]


def test_a_job_that_has_ended_is_not_started_again(bench: Bench) -> None:
    before = bench.run(standin.argv(steps=5))
    assert bench.run(standin.argv(steps=5)) == before


def test_an_end_that_was_told_and_not_sealed_is_sealed_and_not_undone(bench: Bench) -> None:
    bench.run(standin.argv(crash_at=3, code=3, explain=1))
    before = bench.events()
    bench.folder.exit.unlink()
    assert bench.run(standin.argv(steps=5)) == before
    ending = bench.exit()
    assert (ending["status"], ending["error"], ending["advice"]) == (
        "failed",
        "row 7 is broken",
        "Mend row 7.",
    )


def test_a_killed_supervisor_takes_its_trainer_along(bench: Bench) -> None:
    process = bench.start(standin.argv(**SLOW, worker=1))
    bench.await_step(3)
    trainer = bench.trainer_pid()
    process.kill()
    process.wait()
    until(lambda: gone(trainer), "the trainer dies with its supervisor")
    last = bench.events(EventType.TRAIN)[-1].step
    assert bench.events(EventType.CHECKPOINT)[-1].step == last


def test_the_next_supervisor_ends_what_a_killed_one_left_and_goes_on(bench: Bench) -> None:
    process = bench.start(standin.argv(**SLOW, stubborn=1, worker=1))
    bench.await_step(7)
    trainer = bench.trainer_pid()
    worker = int((bench.folder.path / "worker.pid").read_text())
    process.kill()
    process.wait()
    assert not gone(trainer)
    bench.run(standin.argv(steps=30), stop_grace=0.2)
    assert gone(trainer)
    assert gone(worker)
    events = bench.events()
    assert contiguous(events)
    assert bench.statuses() == ["running", "running", "completed"]
    (recovery,) = bench.events(EventType.RECOVERY)
    assert "the supervisor died" in recovery.data["failure"]
    assert [event.data["alert"] for event in bench.events(EventType.ALERT)] == ["supervisor_lost"]
    assert bench.exit()["attempt"] == 2
    # Nothing of the first attempt was written once the second one began.
    begun = next(event.seq for event in events if event.attempt == 2)
    assert all(event.attempt == 2 for event in events if event.seq > begun)


def test_workers_in_other_sessions_end_with_their_trainer(bench: Bench) -> None:
    bench.run(standin.argv(steps=10, worker=1))
    worker = int((bench.folder.path / "worker.pid").read_text())
    assert gone(worker)


def test_sigterm_lets_the_trainer_save_and_leaves_the_job_to_a_successor(bench: Bench) -> None:
    process = bench.start(standin.argv(steps=40, delay=0.03))
    bench.await_step(7)
    process.terminate()
    assert process.wait(60) == 0
    assert bench.statuses() == ["running"]
    assert not bench.folder.exit.exists()
    assert "SIGTERM" in bench.events(EventType.RECOVERY)[0].data["failure"]
    bench.run(standin.argv(steps=40))
    assert bench.statuses() == ["running", "running", "completed"]
    assert len(bench.events(EventType.RECOVERY)) == 1


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"limits": 7, "pod": 1}', '{"limits": {"max_hours": ""}}']
)
def test_a_broken_job_json_is_left_to_the_trainer_to_explain(bench: Bench, content: str) -> None:
    bench.folder.spec.write_text(content)
    bench.run(standin.argv(steps=5))
    assert bench.statuses() == ["running", "completed"]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"attempt": "many", "left": 3, "seconds": null}'])
def test_a_broken_memory_costs_a_count_and_not_the_job(bench: Bench, content: str) -> None:
    bench.folder.memory.write_text(content)
    bench.run(standin.argv(steps=5))
    assert bench.statuses() == ["running", "completed"]


def test_jobs_wait_for_the_slot_and_train_one_at_a_time_in_order(tmp_path: Path) -> None:
    benches = [Bench(tmp_path / name) for name in ("first", "second", "third")]
    slot = tmp_path / "slot"
    try:
        processes = [benches[0].start(standin.argv(steps=60, delay=0.02), slot)]
        benches[0].await_step(1)
        for bench in benches[1:]:
            processes.append(bench.start(standin.argv(steps=5), slot))
            until(lambda bench=bench: bench.statuses() == ["queued"], "the job is queued")
        assert [process.wait(60) for process in processes] == [0, 0, 0]
        assert benches[0].statuses() == ["running", "completed"]
        for earlier, later in pairwise(benches):
            assert later.statuses() == ["queued", "running", "completed"]
            ended = earlier.events(EventType.STATE)[-1].ts
            assert later.events(EventType.STATE)[1].ts >= ended
        assert not list(slot.with_name("slot.queue").iterdir())
    finally:
        for bench in benches:
            end(bench)


def test_stop_works_in_the_queue_and_a_dead_waiter_holds_nobody_up(tmp_path: Path) -> None:
    first, dead, stopped, last = benches = [Bench(tmp_path / name) for name in "abcd"]
    slot = tmp_path / "slot"
    try:
        running = first.start(standin.argv(**SLOW), slot)
        first.await_step(1)
        waiting = []
        for bench in (dead, stopped, last):
            waiting.append(bench.start(standin.argv(steps=5), slot))
            until(lambda bench=bench: bench.statuses() == ["queued"], "the job is queued")
        waiting[0].kill()
        waiting[0].wait()
        stopped.folder.request("stop")
        assert waiting[1].wait(60) == 0
        assert stopped.statuses() == ["queued", "cancelled"]
        assert not stopped.folder.log.exists()
        assert last.statuses() == ["queued"]
        first.folder.request("stop")
        assert running.wait(60) == 0
        assert waiting[2].wait(60) == 0
        assert last.statuses() == ["queued", "running", "completed"]
    finally:
        for bench in benches:
            end(bench)


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="no prlimit to fill a disk for one process with")
def test_a_full_disk_does_not_kill_the_supervisor_and_the_end_is_written_later(bench: Bench) -> None:
    process = bench.start(standin.argv(**SLOW), linger=120)
    bench.await_step(3)
    unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    # For the supervisor alone, every write fails from now on; its trainer is not touched.
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
    pid = bench.trainer_pid()
    bench.folder.request("stop")
    until(lambda: not Path(f"/proc/{pid}").exists(), "the trainer has left, and the supervisor knows")
    time.sleep(0.3)
    assert process.poll() is None
    assert bench.statuses() == ["running"]
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, unlimited)
    assert process.wait(60) == 0
    assert bench.statuses() == ["running", "cancelled"]
    assert bench.exit()["status"] == "cancelled"
    assert contiguous(bench.events())


def test_a_supervisor_stays_below_25_mb(bench: Bench) -> None:
    if not Path("/proc/self/status").exists():
        pytest.skip("no /proc to read the memory of a process from")
    process = bench.start(standin.argv(**SLOW, crash_at=10))
    until(lambda: len(bench.events(EventType.HEARTBEAT)) > 10 and bench.events(EventType.RECOVERY))
    status = Path(f"/proc/{process.pid}/status").read_text()
    kilobytes = int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1])
    assert kilobytes * 1024 <= 25_000_000
