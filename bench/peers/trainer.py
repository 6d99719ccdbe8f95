"""transformers' Trainer in our environment: the same documents end to end in full rows, no mask between them."""

from __future__ import annotations

import tempfile
from typing import Any

import numpy as np
import torch
from clock import Clock, read_task, trainer_callback
from material import blueprint_of, mfu_line, shard_of
from transformers import Trainer, TrainingArguments

from cpt.train.attention import MASKED
from cpt.train.distributed import best_device


def rows_of(task: dict[str, Any]) -> list[dict[str, torch.Tensor]]:
    tokens, length = shard_of(task).tokens, task["length"]
    whole = len(tokens) // length * length
    rows = torch.from_numpy(np.asarray(tokens[:whole]).astype(np.int64)).reshape(-1, length)
    return [{"input_ids": row, "labels": row} for row in rows]


def main(task: dict[str, Any]) -> None:
    gpu = task["device"] == "cuda"
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            max_steps=task["steps"],
            per_device_train_batch_size=task["batch"],
            gradient_accumulation_steps=1,
            gradient_checkpointing=task["checkpointing"],
            learning_rate=task["lr"],
            lr_scheduler_type="constant",
            optim="adamw_torch_fused",
            weight_decay=0.0,
            max_grad_norm=1.0,
            bf16=gpu,
            use_cpu=not gpu,
            logging_steps=1,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
        )
        rows: Any = rows_of(task)
        Trainer(
            model=blueprint_of(task).build(torch.float32, best_device(0), MASKED),
            args=arguments,
            train_dataset=rows,
            callbacks=[
                trainer_callback(Clock(task), lambda model, rate: {"mfu": mfu_line(task, model, rate)} if gpu else {})
            ],
        ).train()


if __name__ == "__main__":
    main(read_task())
