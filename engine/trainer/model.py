"""The model and its tokenizer: loaded by name or from a folder, or built small from nothing."""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path
from typing import Any, Final

from engine.errors import TrainingError
from engine.job.folder import JobFolder
from engine.job.spec import JobSpec
from engine.trainer import build, failures, fit

_DTYPES: Final = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}


def load(spec: JobSpec, folder: JobFolder, rows: list[dict[str, Any]]) -> tuple[Any, Any]:
    """The model and the tokenizer to train.

    Weights are loaded in the spec's dtype where adapters are trained, and in fp32 where the weights
    themselves are: small updates would vanish in 16 bits. Computation is in the spec's dtype either way.

    Args:
        spec: The job; with `model.build` the model is made in the job's folder first.
        folder: The job's folder.
        rows: The train rows, which a built tokenizer learns from.

    Raises:
        TrainingError: Of kind `model` or `tokenizer`: not found, offline, gated, broken.
    """
    source = spec.model.name
    revision = spec.model.revision
    if spec.model.build is not None:
        source, revision = str(built(spec, folder, rows)), None
    loaded = _model(spec, source, revision)
    fit.check_adapters(spec, loaded)
    return loaded, load_tokenizer(spec, source, revision)


def built(spec: JobSpec, folder: JobFolder, rows: list[dict[str, Any]]) -> Path:
    """The folder of the built model; made once, so that a resume starts from the same weights."""
    path = folder.path / "base"
    if not path.exists():
        assert spec.model.build is not None
        build.build(spec.model.build, rows, spec.training.seed, path)
    return path


def _model(spec: JobSpec, source: str, revision: str | None) -> Any:
    import torch
    from transformers import AutoModelForCausalLM

    dtype = _DTYPES[spec.model.dtype] if spec.lora is not None else "float32"
    options: dict[str, Any] = {"dtype": getattr(torch, dtype)}
    if spec.model.attention != "auto":
        options["attn_implementation"] = spec.model.attention
    if spec.quantization is not None:
        options["quantization_config"] = _quantization(spec)
    loaded = _loaded(AutoModelForCausalLM, "model", spec, source, revision, **options)
    if spec.quantization is not None:
        _keep_differentiable(loaded)
    return loaded


def _keep_differentiable(model: Any) -> None:
    """Bitsandbytes must not repack 4-bit weights on CPUs with AVX512-BF16.

    It does so in the first evaluation or rollout, for a kernel without a gradient, and goes on with that
    kernel in training: from then on nothing flows back through quantized layers, and nothing says so.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False


def load_tokenizer(spec: JobSpec, source: str, revision: str | None) -> Any:
    """The tokenizer alone; it fails as `load` does."""
    from transformers import AutoTokenizer

    tokenizer = _loaded(AutoTokenizer, "tokenizer", spec, source, revision)
    if spec.model.chat_template is not None:
        tokenizer.chat_template = spec.model.chat_template
    return tokenizer


def _loaded(kind: Any, what: str, spec: JobSpec, source: str, revision: str | None, **options: Any) -> Any:
    """`from_pretrained` with its many failures told apart; one that may pass is raised as it is."""
    try:
        return kind.from_pretrained(
            source, revision=revision, trust_remote_code=spec.model.trust_remote_code, **options
        )
    except Exception as error:
        failure = _failure(what, source, error)
        if failure is None:
            raise
        raise failure from error


def _failure(what: str, source: str, error: Exception) -> TrainingError | None:
    """Why a model or a tokenizer can't be loaded; None for what is no matter of the model."""
    if isinstance(error, PermissionError) or failures.out_of_memory(error):
        return None
    text, line = str(error), failures.first_line(error)
    if Path(source).expanduser().is_dir():
        return TrainingError(what, f"{source}: can't be loaded ({line})", "Is the folder a whole model?")
    if source.startswith(("/", ".", "~")):
        return TrainingError(
            what, f"{source}: no such folder", "model.name must be a Hub name or a folder here."
        )
    if os.environ.get("HF_HUB_OFFLINE") == "1":
        return TrainingError(
            what,
            f"{source}: not on this machine, and the Hub can't be reached",
            "Is the name right? Download it first.",
        )
    if re.search(r"\bgated\b|\b40[13]\b", text):
        return TrainingError(what, f"{source}: access refused", "Ask for access on the Hub and set HF_TOKEN.")
    if not isinstance(error, (OSError, ValueError, KeyError, ImportError)) or _may_pass(text):
        return None
    return TrainingError(what, f"{source}: {line}", "Check model.name and model.revision.")


def _may_pass(text: str) -> bool:
    """Does a failure sound like the network's, which another attempt may not meet?"""
    return bool(re.search(r"connect|timed? ?out|temporarily|\b5\d\d\b", text, re.IGNORECASE))


def _quantization(spec: JobSpec) -> Any:
    import torch
    from transformers import BitsAndBytesConfig

    assert spec.quantization is not None
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=spec.quantization.double_quantization,
        bnb_4bit_compute_dtype=getattr(torch, _DTYPES[spec.quantization.compute_dtype]),
    )


def tokenizer_sha256(tokenizer: Any) -> str:
    """The hash, in hex, of what turns text into tokens: vocabulary, merges and chat template."""
    fast = getattr(tokenizer, "backend_tokenizer", None)
    rules = json.loads(fast.to_str()) if fast is not None else {"vocab": tokenizer.get_vocab()}
    for passing in ("padding", "truncation"):  # set by whoever used it last
        rules.pop(passing, None)
    rules["chat_template"] = tokenizer.chat_template
    return hashlib.sha256(json.dumps(rules, sort_keys=True).encode()).hexdigest()
