"""A base model by its path: a toy stand-in, a local folder, or a hub id; checked, fingerprinted and loaded."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from cpt.corpora.toy.world import ToyWorld
from cpt.errors import UserError, config_error
from cpt.models.toy import PREFIX, StandIn, stand_in, toy_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

_SAMPLES, _SAMPLED_BYTES = 64, 1 << 18
"""A file's fingerprint is of so many stretches of it, evenly spread: all of a small one, 16 GB in a second."""


@dataclass(frozen=True)
class BaseModel:
    """What a run starts from. `path` is `toy:<name>`, a folder in the Hugging Face layout, or a hub id."""

    path: str
    revision: str
    world: ToyWorld

    @property
    def toy(self) -> StandIn | None:
        return stand_in(self.path) if self.path.startswith(PREFIX) else None

    @property
    def local(self) -> bool:
        """Whether the path names a folder of this machine rather than a hub id."""
        return self.path.startswith(("/", ".", "~")) or Path(self.path).is_dir()

    @property
    def folder(self) -> Path:
        """Where the files of a stand-in or a local model are."""
        if self.toy is not None:
            return self.world.folder / "models" / self.toy.fingerprint(self.world).rsplit(":", 1)[1]
        return Path(self.path).expanduser()

    @cached_property
    def tokenizer_fingerprint(self) -> str:
        return self._fingerprint("tokenizer*", "special_tokens_map.json")

    @cached_property
    def weights_fingerprint(self) -> str:
        return self._fingerprint("config.json", "*.safetensors")

    def _fingerprint(self, *patterns: str) -> str:
        """Of content for a folder (stretches of large files), of name and revision for a hub id."""
        if self.toy is not None:
            return self.toy.fingerprint(self.world)
        if not self.local:
            return f"hub:{self.path}@{self.revision}"
        digest = hashlib.sha256()
        for path in sorted({path for pattern in patterns for path in self.folder.glob(pattern)}):
            size = path.stat().st_size
            digest.update(f"{path.name}:{size}:".encode())
            with path.open("rb") as file:
                for part in range(_SAMPLES):
                    file.seek(max(size - _SAMPLED_BYTES, 0) * part // (_SAMPLES - 1))
                    digest.update(file.read(_SAMPLED_BYTES))
        return f"folder:{digest.hexdigest()[:16]}"

    def check(self) -> None:
        """Stop before anything starts when the model cannot be had, saying why and what to do."""
        if self.toy is not None:
            return
        if self.local:
            for name, why in (("config.json", "its architecture"), ("tokenizer_config.json", "its tokenizer")):
                if not (self.folder / name).is_file():
                    reason = f"no {name} there ({why}); give a folder in the Hugging Face layout or a hub id"
                    raise config_error("model.path", self.path, reason)
            if not list(self.folder.glob("*.safetensors")):
                reason = "no *.safetensors there; only safetensors weights are loaded"
                raise config_error("model.path", self.path, reason)
            return
        self._check_hub()

    def _check_hub(self) -> None:
        from huggingface_hub import HfApi, try_to_load_from_cache
        from huggingface_hub.errors import GatedRepoError, HFValidationError, RepositoryNotFoundError

        remedy = "or give model.path=<a local folder>"
        try:
            if isinstance(try_to_load_from_cache(self.path, "config.json", revision=self.revision), str):
                return
            if os.environ.get("HF_HUB_OFFLINE") == "1":
                raise config_error("model.path", self.path, f"not in the local cache and HF_HUB_OFFLINE=1; {remedy}")
            HfApi().model_info(self.path, revision=self.revision, timeout=10)
        except HFValidationError as error:
            raise config_error("model.path", self.path, f"neither a folder nor a hub id ({error})") from error
        except GatedRepoError as error:
            reason = f"gated: accept its licence on the hub and log in with `hf auth login`, {remedy}"
            raise config_error("model.path", self.path, reason) from error
        except RepositoryNotFoundError as error:
            raise config_error("model.path", self.path, f"no such model on the hub, {remedy}") from error
        except UserError:
            raise
        except Exception as error:  # the hub client raises its transport's own errors
            reason = f"the hub cannot be reached ({type(error).__name__}); download it where there is a network"
            raise config_error("model.path", self.path, f"{reason}, {remedy}") from error

    def tokenizer(self) -> PreTrainedTokenizerFast:
        if self.toy is not None:
            return toy_tokenizer(self.toy, self.world)
        from transformers import AutoTokenizer

        tokenizer: Any = AutoTokenizer.from_pretrained(self._name, trust_remote_code=False, **self._where)
        if not tokenizer.is_fast:
            raise config_error("model.path", self.path, "its tokenizer has no tokenizer.json, which tokenising needs")
        # A tokenizer's file may carry limits for another use; here no text is cut or padded unasked.
        tokenizer.backend_tokenizer.no_truncation()
        tokenizer.backend_tokenizer.no_padding()
        return cast("PreTrainedTokenizerFast", tokenizer)

    def model(self, dtype: Any) -> PreTrainedModel:
        return load_model(self._name, dtype, **self._where)

    @property
    def _name(self) -> str:
        return str(self.folder) if self.toy or self.local else self.path

    @property
    def _where(self) -> dict[str, str]:
        return {} if self.toy or self.local else {"revision": self.revision}


def load_model(name: str, dtype: Any, **where: str) -> PreTrainedModel:
    """Weights of a causal language model from safetensors only, without any code from the hub."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(
        name, dtype=dtype, attn_implementation="sdpa", use_safetensors=True, trust_remote_code=False, **where
    )
    return cast("PreTrainedModel", model)
