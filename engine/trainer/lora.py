"""Low-rank adapters."""

from __future__ import annotations

from typing import Any

from engine.job.spec import JobSpec


def lora_config(spec: JobSpec) -> Any | None:
    """PEFT's configuration; None for full fine-tuning."""
    if spec.lora is None:
        return None
    from peft import LoraConfig

    return LoraConfig(
        r=spec.lora.r,
        lora_alpha=spec.lora.alpha,
        lora_dropout=spec.lora.dropout,
        target_modules=list(spec.lora.target_modules),
        task_type="CAUSAL_LM",
    )
