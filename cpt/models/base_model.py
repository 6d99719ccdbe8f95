"""A base model by its path: a toy stand-in, a local folder, or a hub id; checked, fingerprinted and loaded."""

from __future__ import annotations

import hashlib
import json
import struct
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from cpt import hub
from cpt.corpora.toy.world import ToyWorld
from cpt.errors import config_error
from cpt.files import file_hash
from cpt.models.toy import PREFIX, StandIn, architecture, stand_in, toy_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

    from cpt.models.weights import Blueprint

TOKENIZER_FILES = ("tokenizer*", "special_tokens_map.json", "vocab*", "merges*", "*.model", "added_tokens.json")
_SAMPLES, _SAMPLED_BYTES = 64, 1 << 18
"""The fingerprint of a large file reads this many evenly spaced samples of it: one second for 16 GB."""


@dataclass(frozen=True)
class BaseModel:
    """The model that a run starts from. `path` is `toy:<name>`, a folder in the Hugging Face layout, or a hub id."""

    path: str
    revision: str
    world: ToyWorld
    weights: str = "pretrained"
    key: str = "model.path"
    """The configuration key of the path, for messages."""

    @property
    def toy(self) -> StandIn | None:
        return stand_in(self.path) if self.path.startswith(PREFIX) else None

    @property
    def local(self) -> bool:
        """Whether the path names a folder of this machine rather than a hub id."""
        return self.path.startswith(("/", ".", "~")) or Path(self.path).is_dir()

    @property
    def folder(self) -> Path:
        """The folder of a stand-in or a local model."""
        if self.toy is not None:
            return self.world.folder / "models" / self.toy.fingerprint(self.world).rsplit(":", 1)[1]
        return Path(self.path).expanduser()

    @cached_property
    def tokenizer_fingerprint(self) -> str:
        return self._fingerprint(*TOKENIZER_FILES, whole=True)

    @cached_property
    def weights_fingerprint(self) -> str:
        if self.weights == "random":
            return f"random:{self._fingerprint('config.json')}"
        return self._fingerprint("config.json", "*.safetensors")

    @property
    def commit(self) -> str | None:
        """The commit of a hub's model in the local cache."""
        if self.toy is not None or self.local:
            return None
        config = hub.cached_file(self.path, "config.json", self.revision)
        return config.parent.name if config else None

    def _fingerprint(self, *patterns: str, whole: bool = False) -> str:
        """Hash of the content of a folder (samples of large files); name and revision of a hub id."""
        if self.toy is not None:
            return self.toy.fingerprint(self.world)
        if not self.local:
            return f"hub:{self.path}@{self.revision}"
        digest = hashlib.sha256()
        for path in sorted({path for pattern in patterns for path in self.folder.glob(pattern)}):
            size = path.stat().st_size
            digest.update(f"{path.name}:{size}:".encode())
            if whole:
                digest.update(file_hash(path).encode())
                continue
            with path.open("rb") as file:
                for part in range(_SAMPLES):
                    file.seek(max(size - _SAMPLED_BYTES, 0) * part // (_SAMPLES - 1))
                    digest.update(file.read(_SAMPLED_BYTES))
        return f"folder:{digest.hexdigest()[:16]}"

    def check(self) -> None:
        """Refuse a model that is not available, before anything starts."""
        if self.toy is not None:
            return
        if self.local:
            for name, why in (("config.json", "its architecture"), ("tokenizer_config.json", "its tokenizer")):
                if not (self.folder / name).is_file():
                    reason = f"no {name} there ({why}); give a folder in the Hugging Face layout or a hub id"
                    raise config_error(self.key, self.path, reason)
            if self.weights != "random":
                check_weights(self.key, self.path, self.folder)
            check_architecture(self.key, self.path, self.folder)
            return
        self._check_hub()

    def _check_hub(self) -> None:
        remedy = "or give model.path=<a local folder>"
        try:
            if hub.cached_file(self.path, "config.json", self.revision):
                return
            if hub.offline():
                raise config_error(self.key, self.path, f"not in the local cache and HF_HUB_OFFLINE=1; {remedy}")
            names = hub.model_info(self.path, self.revision)["files"]
        except hub.UnavailableError as error:
            raise config_error(self.key, self.path, f"{error}; {remedy}") from error
        if names and not any(name.endswith(".safetensors") for name in names):
            raise config_error(self.key, self.path, "it has no safetensors; only such weights are loaded")

    def tokenizer(self) -> PreTrainedTokenizerFast:
        if self.toy is not None:
            return toy_tokenizer(self.toy, self.world)
        from transformers import AutoTokenizer

        tokenizer: Any = AutoTokenizer.from_pretrained(self._name, trust_remote_code=False, **self._where)
        if not tokenizer.is_fast:
            raise config_error(self.key, self.path, "its tokenizer has no tokenizer.json, which tokenising needs")
        # A tokenizer's file may set limits for another use; here text is never cut or padded.
        tokenizer.backend_tokenizer.no_truncation()
        tokenizer.backend_tokenizer.no_padding()
        return cast("PreTrainedTokenizerFast", tokenizer)

    def model(self, dtype: Any) -> PreTrainedModel:
        """The whole model, for evaluation."""
        if self.weights == "random":
            import torch

            return self.blueprint(seed=0).build(dtype, torch.device("cpu"))
        return load_model(self._name, dtype, **self._where)

    def blueprint(self, seed: int) -> Blueprint:
        """The model to train, before any weights are read. `seed` is for random weights."""
        from cpt.models.weights import Blueprint, RandomWeights

        folder = self._files()
        assert folder is not None, "a download ends in files or an error"
        if self.weights != "random":
            return Blueprint.of_folder(folder)
        if self.toy is not None:
            config: Any = architecture(self.toy)
        else:
            config = Blueprint.of_folder(folder).config
        return Blueprint(config, RandomWeights(seed, config.initializer_range), self.path)

    def _files(self, download: bool = True) -> Path | None:
        """A folder with the model's files; those of a hub are downloaded, or looked up in the local cache."""
        if self.toy is not None or self.local:
            return self.folder
        return hub.model_folder(self.path, self.revision, ["*.json", "*.safetensors", *TOKENIZER_FILES], download)

    @property
    def present(self) -> bool:
        """Whether the files are on this machine, or will be made here."""
        return self._files(download=False) is not None

    def fetch(self) -> None:
        """Download a hub's files that are not on this machine yet."""
        if not self.present:
            self._files()

    @property
    def _name(self) -> str:
        return str(self.folder) if self.toy or self.local else self.path

    @property
    def _where(self) -> dict[str, str]:
        return {} if self.toy or self.local else {"revision": self.revision}


def check_weights(key: str, path: str, folder: Path) -> None:
    """Every safetensors file whole, by its own header, and none missing that the index names."""
    files = {file.name: file for file in folder.glob("*.safetensors")}
    if not files:
        raise config_error(key, path, "no *.safetensors there; only safetensors weights are loaded")
    index = folder / "model.safetensors.index.json"
    if index.exists():
        named = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        if missing := sorted(named - files.keys()):
            raise config_error(key, path, f"{missing[0]} is not there, which {index.name} names")
    for name, file in sorted(files.items()):
        if (size := file.stat().st_size) != (whole := _safetensors_size(file)):
            reason = f"{name} has {size:,} of {whole:,} bytes; download it again"
            raise config_error(key, path, reason)


def _safetensors_size(file: Path) -> int:
    """The size a safetensors file should have: 8 bytes, a header of that length, and the tensors it lists."""
    with file.open("rb") as opened:
        try:
            (length,) = struct.unpack("<Q", opened.read(8))
            header = json.loads(opened.read(min(length, 1 << 30)))
            return int(8 + length + max(entry["data_offsets"][1] for name, entry in header.items() if name[:2] != "__"))
        except (struct.error, ValueError, KeyError, TypeError):
            return 0


def check_architecture(key: str, path: str, folder: Path) -> None:
    """A causal language model with an entry for every token of its tokenizer."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    named = config.get("architectures") or []
    if named and not any(name.endswith(("ForCausalLM", "LMHeadModel")) for name in named):
        raise config_error(key, path, f"it is a {named[0]}; a causal language model is needed")
    tokenizer = folder / "tokenizer.json"
    if tokenizer.exists() and "vocab_size" in config:
        from tokenizers import Tokenizer

        if (size := Tokenizer.from_file(str(tokenizer)).get_vocab_size()) > config["vocab_size"]:
            known = f"its tokenizer has {size:,} tokens, its weights {config['vocab_size']:,}"
            raise config_error(key, path, f"{known}; they do not belong together")


def load_model(name: str, dtype: Any, **where: str) -> PreTrainedModel:
    """Weights of a causal language model from safetensors only, without any code from the hub."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(
        name, dtype=dtype, attn_implementation="sdpa", use_safetensors=True, trust_remote_code=False, **where
    )
    return cast("PreTrainedModel", model)
