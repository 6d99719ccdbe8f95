"""A bare PyTorch loop on random tokens that are in memory before it starts: the ceiling of what any trainer can do."""

from __future__ import annotations

from typing import Any

import torch
from clock import Clock, read_task
from material import blueprint_of

from cpt.train.attention import MASKED


def main(task: dict[str, Any]) -> None:
    model: Any = blueprint_of(task).build(torch.float32, torch.device("cpu"), MASKED)
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=task["lr"], weight_decay=0.0, fused=True)
    shape = (task["steps"], task["batch"], task["length"])
    clock, losses = Clock(task), {}
    for step, ids in enumerate(torch.randint(3, model.config.vocab_size, shape), start=1):
        loss = model(input_ids=ids, labels=ids, use_cache=False).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        losses[step] = float(loss)
        clock.tick()
    clock.report(model, optimizer, task["length"], losses=losses)


if __name__ == "__main__":
    main(read_task())
