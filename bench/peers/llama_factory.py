"""LLaMA-Factory's stage `pt`, carried out in its own environment as `llamafactory-cli train` does on one process.

Its command line takes no callback, so the function behind it is called with the same configuration and our clock.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from clock import Clock, read_task, trainer_callback
from llamafactory.train.tuner import run_exp


def configuration(task: dict[str, Any], folder: str) -> dict[str, Any]:
    """What the YAML file would hold. Whatever is not here is as LLaMA-Factory has it: packing, attention, optimizer."""
    alike = {} if task["checkpointing"] else {"disable_gradient_checkpointing": True, "logging_steps": 1}
    return {
        "model_name_or_path": str(Path(task["material"]) / "model"),
        "stage": "pt",
        "do_train": True,
        "finetuning_type": "full",
        "dataset_dir": task["material"],
        "dataset": "text",
        "cutoff_len": task["length"],
        "output_dir": folder,
        "max_steps": task["steps"],
        "per_device_train_batch_size": task["batch"],
        "gradient_accumulation_steps": 1,
        "learning_rate": task["lr"],
        "lr_scheduler_type": "constant",
        "weight_decay": 0.0,
        "max_grad_norm": 1.0,
        "save_strategy": "no",
        "report_to": "none",
        "use_cpu": True,
        **alike,
    }


def main(task: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        settings = configuration(task, folder)
        run_exp(dict(settings), callbacks=[trainer_callback(Clock(task))])
    output = Path(task["output"])
    kept = {key: value for key, value in settings.items() if not str(value).startswith("/")}
    output.write_text(json.dumps({**json.loads(output.read_text()), "configuration": kept}), encoding="utf-8")


if __name__ == "__main__":
    main(read_task())
