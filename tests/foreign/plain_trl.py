"""Trains a tiny random Llama with TRL's SFTTrainer and nothing of Podium: `python plain_trl.py FOLDER`."""

from __future__ import annotations

import sys

from datasets import Dataset
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, set_seed
from trl import SFTConfig, SFTTrainer

SENTENCES = [
    f"the {a} {b} the {c}"
    for a in ("cat", "dog", "cow")
    for b in ("saw", "bit")
    for c in ("hen", "fox", "ox")
]


def tokenizer() -> PreTrainedTokenizerFast:
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel()
    bpe.decoder = decoders.ByteLevel()
    special = ["<pad>", "<eos>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    bpe.train_from_iterator(
        SENTENCES, trainers.BpeTrainer(vocab_size=300, special_tokens=special, initial_alphabet=alphabet)
    )
    return PreTrainedTokenizerFast(tokenizer_object=bpe, pad_token="<pad>", eos_token="<eos>")


def main(folder: str) -> None:
    set_seed(0)
    words = tokenizer()
    shape = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=len(words), max_position_embeddings=64, **shape))
    arguments = SFTConfig(
        output_dir=folder,
        max_steps=12,
        per_device_train_batch_size=4,
        learning_rate=1e-2,
        logging_steps=2,
        eval_strategy="steps",
        eval_steps=4,
        save_strategy="steps",
        save_steps=4,
        max_length=32,
        use_cpu=True,
        bf16=False,
        report_to=[],
        disable_tqdm=True,
    )
    SFTTrainer(
        model=model,
        args=arguments,
        train_dataset=Dataset.from_dict({"text": SENTENCES[:12]}),
        eval_dataset=Dataset.from_dict({"text": SENTENCES[12:]}),
        processing_class=words,
    ).train()


if __name__ == "__main__":
    main(sys.argv[1])
