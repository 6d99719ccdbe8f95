"""The plain engine: one process, one device, fp32 master weights, bf16 arithmetic where asked."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from cpt.tokens.mix import IGNORED, Batch


class PlainEngine:
    def __init__(
        self,
        model: PreTrainedModel,
        *,
        device: str,
        bf16: bool,
        micro_batch: int,
        weight_decay: float,
        betas: tuple[float, float],
        clip: float,
    ) -> None:
        untyped: Any = model  # transformers leaves moving and calling its models untyped
        self.model: Any = untyped.to(device)
        self.device, self.bf16, self.micro_batch, self.clip = device, bf16, micro_batch, clip
        self.model.train()
        self.parameters = dict(self.model.named_parameters())
        self.optimizer = torch.optim.AdamW(
            self.parameters.values(), lr=0.0, betas=betas, weight_decay=weight_decay, fused=True
        )

    def step(self, batch: Batch, lr: float) -> tuple[float, float]:
        """The loss is the mean over all real targets of the global batch, however it is split."""
        targets, total = batch.targets, 0.0
        for first in range(0, len(batch.inputs), self.micro_batch):
            rows = slice(first, first + self.micro_batch)
            loss = self._loss_sum(batch, rows) / targets
            loss.backward()  # type: ignore[no-untyped-call]
            total += loss.item()
        norm = torch.nn.utils.clip_grad_norm_(self.parameters.values(), self.clip)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return total, float(norm)

    def _loss_sum(self, batch: Batch, rows: slice) -> Tensor:
        documents = self._tensor(batch.documents[rows])
        with torch.autocast(self.device, dtype=torch.bfloat16, enabled=self.bf16):
            logits = self.model(
                input_ids=self._tensor(batch.inputs[rows]),
                position_ids=self._tensor(batch.positions[rows]),
                attention_mask=document_mask(documents),
                use_cache=False,
            ).logits
        labels = self._tensor(batch.labels[rows])
        return torch.nn.functional.cross_entropy(
            logits.flatten(0, 1).float(), labels.flatten(), ignore_index=IGNORED, reduction="sum"
        )

    def _tensor(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(array).to(self.device)

    def state(self) -> dict[str, Tensor]:
        moments = self.optimizer.state
        state = {f"model.{name}": tensor.detach() for name, tensor in self.parameters.items()}
        for name, tensor in self.parameters.items():
            for key, value in moments[tensor].items():
                state[f"optimizer.{key}.{name}"] = value
        return state | {"random.cpu": torch.get_rng_state()}

    def load(self, state: dict[str, Tensor]) -> None:
        with torch.no_grad():
            for name, tensor in self.parameters.items():
                tensor.copy_(state[f"model.{name}"])
                self.optimizer.state[tensor] = {
                    key: state[f"optimizer.{key}.{name}"].to(self.device) for key in ("step", "exp_avg", "exp_avg_sq")
                }
        torch.set_rng_state(state["random.cpu"].cpu())


def document_mask(documents: Tensor) -> Tensor:
    """[batch, 1, length, length]: true where a position may attend, which is back within its own document.

    Position ids alone do not keep packed documents apart under scaled-dot-product attention; this mask does.
    """
    length = documents.shape[1]
    causal = torch.ones(length, length, dtype=torch.bool, device=documents.device).tril()
    same: Tensor = documents[:, None, :] == documents[:, :, None]
    return (same & causal)[:, None]
