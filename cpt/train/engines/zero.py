"""DeepSpeed ZeRO: stage 1 shards the optimizer state, stage 2 also the gradients, stage 3 also the weights."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from cpt.models.weights import Blueprint, owned_parameters
from cpt.train.engines.engine import GRADIENT, MOMENTS, WEIGHT, Engine, parameter_groups
from cpt.train.hooks import Hook


class ZeroEngine(Engine):
    stage: int

    def _build(self, blueprint: Blueprint) -> Any:
        self._connect()
        if self.stage < 3:
            model: Any = blueprint.build(self.settings.dtype, self.dist.device, self.attention)
        else:
            model = self._partitioned(blueprint)
        self._prepare(model)
        return model

    def _connect(self) -> None:
        import deepspeed
        from deepspeed import ops

        logging.getLogger("DeepSpeed").setLevel(logging.WARNING)
        if self.dist.device.type == "cpu":
            # Otherwise DeepSpeed compiles a shared-memory kernel at the first start; if killed, the next start hangs.
            ops.__compatible_ops__["deepspeed_shm_comm"] = False
        backend = "nccl" if self.dist.device.type == "cuda" else "gloo"
        deepspeed.init_distributed(backend, auto_mpi_discovery=False, verbose=False)

    def _partitioned(self, blueprint: Blueprint) -> Any:
        """Read and partition one tensor after the other, so that a rank holds at most one whole tensor."""
        import deepspeed

        model = blueprint.empty(self.settings.dtype, self.attention)
        partition = deepspeed.zero.Init(config_dict_or_path=self._config(), enabled=True, dtype=self.settings.dtype)
        for name, module, key, parameter in owned_parameters(model):
            value = blueprint.weights.read(name, parameter.shape).to(self.dist.device, self.settings.dtype, copy=True)
            module.register_parameter(key, torch.nn.Parameter(value))
            partition._convert_to_zero_parameters([module._parameters[key]])
        model.tie_weights()
        for module in model.modules():
            for key, buffer in module._buffers.items():
                if buffer is not None:
                    module._buffers[key] = buffer.to(self.dist.device)
        return model

    def _config(self) -> dict[str, Any]:
        """DeepSpeed's configuration; everything else has its default."""
        settings = self.settings
        zero: dict[str, Any] = {
            "stage": self.stage,
            # With the backward pass overlapping communication, losses turned NaN on MI250X: deepspeedai/DeepSpeed#5347.
            "overlap_comm": False,
            "contiguous_gradients": True,
        }
        if settings.offload:
            zero["offload_optimizer"] = {"device": "cpu", "pin_memory": self.dist.device.type == "cuda"}
        return {
            "train_micro_batch_size_per_gpu": settings.micro_batch,
            "gradient_accumulation_steps": settings.global_batch // (settings.micro_batch * self.dist.world_size),
            "gradient_clipping": settings.clip,
            "bf16": {"enabled": settings.bf16},
            # Gradients are reduced and accumulated in fp32, also when the model computes in bf16.
            "communication_data_type": "fp32",
            "data_types": {"grad_accum_dtype": "fp32"},
            "zero_optimization": zero,
            "zero_allow_untested_optimizer": True,
            "zero_force_ds_cpu_optimizer": False,  # torch's own fused AdamW needs no compiler
            "steps_per_print": 1_000_000_000,
        }

    def _start(self, hooks: Sequence[Hook]) -> None:
        import deepspeed

        groups = parameter_groups(self.parameters, hooks, self.settings)
        made = deepspeed.initialize(
            model=self.model,
            model_parameters=groups,
            optimizer=lambda params: torch.optim.AdamW(params, lr=0.0, betas=self.settings.betas, fused=True),
            config=self._config(),
            dist_init_required=False,
        )
        self.engine, self.optimizer = made[0], made[1]
        self._make_moments()

    def _groups(self) -> list[dict[str, Any]]:
        groups: list[dict[str, Any]] = self.optimizer.param_groups
        return groups

    def _call(self, inputs: dict[str, Any]) -> Any:
        return self.engine(**inputs)

    def _backward(self, loss: Tensor, last: bool) -> None:
        self.engine.backward(loss, scale_wrt_gas=False)
        if not last:
            self.engine.step()  # counts the micro-batch; only the last one updates the weights

    def _update(self) -> float:
        self.engine.step()
        return float(self.engine.get_global_grad_norm())

    def read(self, name: str, part: str) -> Tensor | None:
        from deepspeed import utils

        parameter = self.parameters[name]
        if part == GRADIENT:
            value: Tensor | None = utils.safe_get_full_grad(parameter)
        elif part == WEIGHT:
            value = utils.safe_get_full_fp32_param(parameter)
        else:
            value = utils.safe_get_full_optimizer_state(parameter, part)
        return value

    def write(self, name: str, part: str, value: Tensor) -> None:
        from deepspeed import utils

        parameter: Any = self.parameters[name]
        value = value.to(self.dist.device)
        if part == GRADIENT:
            utils.safe_set_full_grad(parameter, value)
        elif self.stage < 3:
            if part == WEIGHT:
                utils.safe_set_full_fp32_param(parameter, value)
                parameter.data.copy_(value)
            else:
                utils.safe_set_full_optimizer_state(parameter, value, part)
        else:
            self._write_partition(parameter, part, value)

    def _write_partition(self, parameter: Any, part: str, value: Tensor) -> None:
        """Write this rank's part of a whole tensor; the last rank's part may be padded."""
        from deepspeed import utils
        from deepspeed.runtime.zero.partition_parameters import ZeroParamStatus

        size = parameter.ds_tensor.numel()
        mine = value.flatten()[self.dist.rank * size : (self.dist.rank + 1) * size]
        mine = torch.nn.functional.pad(mine, (0, size - mine.numel()))
        if part != WEIGHT:
            utils.safe_set_local_optimizer_state(parameter, mine, part)
            return
        utils.safe_set_local_fp32_param(parameter, mine)
        parameter.ds_tensor.data.copy_(mine)
        if parameter.ds_status == ZeroParamStatus.AVAILABLE:  # small parameters stay gathered
            parameter.data.copy_(value)

    def _flat_partitions(self) -> list[Tensor]:
        """The tensors that the inner optimizer updates: this rank's flattened part of each group."""
        names = ("fp32_partitioned_groups_flat", "single_partition_of_fp32_groups", "fp32_groups_flat_partition")
        # Names of stage 3, of stages 1 and 2, and of stage 1 in bf16.
        flat: list[Tensor] = next(getattr(self.optimizer, name) for name in names if hasattr(self.optimizer, name))
        return flat

    def _make_moments(self) -> None:
        """Create zero moments before the first step, so that a checkpoint can be loaded into them.

        By default DeepSpeed also links them to their parameters when only those of the first group exist.
        """
        for flat in self._flat_partitions():
            zeros = {part: torch.zeros_like(flat) for part in MOMENTS}
            self.optimizer.optimizer.state[flat] = {"step": torch.zeros((), device=flat.device), **zeros}
        if self.stage < 3:
            self.optimizer._lazy_init_hp_params_optimizer_state()

    def set_step(self, step: int) -> None:
        for flat in self._flat_partitions():
            self.optimizer.optimizer.state[flat]["step"].fill_(float(step))


class Zero1Engine(ZeroEngine):
    stage = 1


class Zero2Engine(ZeroEngine):
    stage = 2


class Zero3Engine(ZeroEngine):
    stage = 3
