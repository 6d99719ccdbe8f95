"""LLaMA-Factory's preparation for stage `pt`, in its own environment: what `llamafactory-cli train` does to the data.

It is `run_pt` up to where the model would be loaded, from the file to packed sequences in its arrow files. The folder
they are cached in is empty at first and nothing is taken from it (`overwrite_cache`).
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from llamafactory.data import get_dataset, get_template_and_fix_tokenizer
from llamafactory.hparams import get_train_args
from llamafactory.model import load_tokenizer
from timed import carry_out

SETTINGS = {
    "stage": "pt",
    "do_train": True,
    "finetuning_type": "full",
    "packing": None,
    "overwrite_cache": True,
    "streaming": False,
    "report_to": "none",
    "use_cpu": True,
}
"""What the YAML file would hold, with paths and sizes. Packing is on in this stage when not set; set, it takes a token
off every sequence."""


def llama_factory(task: dict[str, Any]) -> tuple[float, int]:
    model_args, data_args, training_args, _, _ = get_train_args(
        {
            **SETTINGS,
            "model_name_or_path": str(Path(task["material"]) / "tokenizer"),
            "dataset_dir": task["material"],
            "dataset": Path(task["file"]).stem,
            "preprocessing_num_workers": task["processes"],
            "cutoff_len": task["length"],
            "output_dir": task["folder"],
        }
    )
    assert data_args.packing
    assert data_args.cutoff_len == task["length"]
    module = load_tokenizer(model_args)
    begin = time.perf_counter()
    template = get_template_and_fix_tokenizer(module["tokenizer"], data_args)
    rows = get_dataset(template, model_args, data_args, training_args, stage="pt", **module)["train_dataset"]
    seconds = time.perf_counter() - begin
    lengths = set(rows.data.column("input_ids").combine_chunks().value_lengths().to_pylist())
    assert lengths == {task["length"]}, f"not packed full: {lengths}"
    return seconds, len(rows) * task["length"]


if __name__ == "__main__":
    carry_out(llama_factory, configuration=SETTINGS)
