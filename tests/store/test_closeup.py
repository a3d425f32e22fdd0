"""What a run says of itself when it looks closely is kept among the facts of its job."""

from __future__ import annotations

from tests.store.test_delivery import empty_store
from tests.store.wire import Wire, a_job

LARGEST, SMALLEST = {"layer": "layers.3", "norm": 2.5}, {"layer": "layers.0", "norm": "NaN"}


def metadata(wire: Wire) -> dict[str, object]:
    with empty_store() as store:
        store.add(a_job())
        store.ingest("job-1", wire.bytes, 0)
        return dict(store.job("job-1").metadata)


def test_the_newest_extremes_and_lengths_are_kept() -> None:
    wire = Wire().start()
    wire.write("gradients", 1, layers={"layers.3": 9.0}, largest=SMALLEST, smallest=SMALLEST)
    wire.write("gradients", 50, layers={"layers.3": 2.5}, largest=LARGEST, smallest=SMALLEST)
    wire.write("tokens", 50, sequences=8, mean=30.5, max=64, truncated=0.25, padding=0.5, other="x")
    told = metadata(wire)
    assert told["gradients"] == {"step": 50, "largest": LARGEST, "smallest": SMALLEST}
    lengths = {"sequences": 8, "mean": 30.5, "max": 64, "truncated": 0.25, "padding": 0.5}
    assert told["token_lengths"] == {"step": 50, **lengths}


def test_each_phases_peak_is_kept_for_every_gpu() -> None:
    wire = Wire().start()
    for phase, peaks in (("train", [7.0, 8.0]), ("eval", [2.0, 2.0]), ("train", [7.0, 9.0])):
        wire.write("memory", 4, phase=phase, gpus=[{"index": i, "peak_gb": p} for i, p in enumerate(peaks)])
    assert metadata(wire)["gpu_peaks_gb"] == {"train": [7.0, 9.0], "eval": [2.0, 2.0]}


def test_what_has_another_shape_is_left_out() -> None:
    wire = Wire().start()
    wire.write("gradients", 1, largest=[1], smallest={"layer": "a"}).write("gradients", 2)
    wire.write("tokens", 1, mean="many", max={}).write("memory", 1, phase=3, gpus=[]).write(
        "memory", 1, gpus=7
    )
    wire.write("memory", 1, phase="eval", gpus=["x", {"peak_gb": "much"}])
    told = metadata(wire)
    assert told.keys() & {"gradients", "token_lengths"} == set()
    assert told["gpu_peaks_gb"] == {"eval": [None, None]}


def test_the_highest_reward_of_a_run_is_known_and_taken_back_by_a_resume() -> None:
    wire = Wire().start()
    for step, reward in ((10, 0.4), (20, "NaN"), (30, 0.7), (40, 0.6)):
        wire.write("eval", step, eval_reward=reward, epoch=step)
    with empty_store() as store:
        store.add(a_job(method="rlhf"))
        at = store.ingest("job-1", wire.bytes, 0).offset
        job = store.job("job-1")
        assert (job.best_eval_loss, job.best_eval_reward, job.rank_value) == (None, 0.7, -0.7)
        wire.attempt = 2
        wire.start(20).write("eval", 30, eval_reward=0.5, epoch=30)
        store.ingest("job-1", wire.bytes[at:], at)
        assert store.job("job-1").best_eval_reward == 0.5
