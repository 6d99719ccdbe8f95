"""Stand-ins for the base models: small Llamas whose tokenizers differ as the real ones do.

`l3` knows a little of every language; `l2` has a smaller vocabulary and spells scripts it was never shown in
bytes; `v7` knows Germanic languages best. Only shapes and tokenizers
are here: cpt/train/pretrain_standin.py pretrains them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from cpt.added_keys import hashed_settings
from cpt.corpora.document import CODE
from cpt.corpora.source import json_lines
from cpt.corpora.toy.world import ToyWorld
from cpt.errors import config_error, nearest
from cpt.files import locked, replacing_folder
from cpt.languages import ENGLISH, registry

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import LlamaConfig, PreTrainedTokenizerFast

PREFIX = "toy:"
VERSION = 2
"""Raised when a stand-in's shape, tokenizer or pretraining changes."""
_SAMPLE_DOCS = 400


@dataclass(frozen=True)
class StandIn:
    name: str
    vocabulary: int
    byte_level: bool
    """Byte-level BPE as Llama 3; otherwise BPE over characters with a fallback to bytes, as Llama 2."""
    unseen_scripts: tuple[str, ...] = ()
    best_branches: tuple[str, ...] = ()
    """Branches whose languages the tokenizer saw more of."""
    known: tuple[str, ...] = ("nld_Latn", "rus_Cyrl", "hin_Deva", "vie_Latn")
    """Languages met in translation: like real base models they know some, and what translating is."""
    steps: int = 450
    batch: int = 4
    length: int = 256
    lr: float = 3e-3

    def fingerprint(self, world: ToyWorld) -> str:
        spec = json.dumps([VERSION, hashed_settings(self), world.fingerprint])
        return f"{PREFIX}{self.name}:{hashlib.sha256(spec.encode()).hexdigest()[:8]}"


STAND_INS = {
    item.name: item
    for item in (
        StandIn("l3", 1536, byte_level=True),
        StandIn("l2", 1280, byte_level=False, unseen_scripts=("Mymr", "Laoo")),
        StandIn("v7", 1408, byte_level=True, best_branches=("Germanic",)),
    )
}


def stand_in(path: str) -> StandIn:
    """The stand-in that `model.path=toy:<name>` names."""
    name = path.removeprefix(PREFIX)
    if name not in STAND_INS:
        reason = f"no such stand-in; known: {', '.join(STAND_INS)}{nearest(name, STAND_INS)}"
        raise config_error("model.path", path, reason)
    return STAND_INS[name]


def architecture(item: StandIn) -> LlamaConfig:
    """About 0.8 M parameters: what pretrains in a minute on two cores and still learns topics and words."""
    from transformers import LlamaConfig

    return LlamaConfig(
        vocab_size=item.vocabulary,
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
    )


def toy_tokenizer(item: StandIn, world: ToyWorld) -> PreTrainedTokenizerFast:
    """The stand-in's tokenizer, trained once on a sample of the toy world."""
    from transformers import PreTrainedTokenizerFast

    folder = world.folder / "tokenizers" / item.fingerprint(world).rsplit(":", 1)[1]
    with locked(folder.with_name(f"{folder.name}.lock")):
        if not folder.exists():
            tokenizer = _train(item, world)
            with replacing_folder(folder) as temporary:
                tokenizer.save_pretrained(temporary)
    return cast("PreTrainedTokenizerFast", PreTrainedTokenizerFast.from_pretrained(folder))


def _train(item: StandIn, world: ToyWorld) -> PreTrainedTokenizerFast:
    from tokenizers import Tokenizer, decoders, normalizers, pre_tokenizers, processors, trainers
    from tokenizers.models import BPE
    from transformers import PreTrainedTokenizerFast

    special = ["<pad>", "<s>", "</s>"]
    if item.byte_level:
        core = Tokenizer(BPE())
        core.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
        )
        core.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
    else:
        special += [f"<0x{byte:02X}>" for byte in range(256)]
        core = Tokenizer(BPE(byte_fallback=True, fuse_unk=False, unk_token="</s>"))
        core.normalizer = normalizers.Replace(" ", "▁")
        lines = pre_tokenizers.Split("\n", behavior="isolated")  # no token reaches over the end of a line
        core.pre_tokenizer = pre_tokenizers.Sequence([lines, pre_tokenizers.Split("▁", behavior="merged_with_next")])
        core.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
        alphabet = []
    trainer = trainers.BpeTrainer(
        vocab_size=item.vocabulary, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    core.train_from_iterator(_sample(item, world), trainer)
    core = _with_plain_bytes(core)
    core.post_processor = processors.TemplateProcessing(single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", 1)])
    fast: Any = PreTrainedTokenizerFast  # its constructor is untyped
    return cast(
        "PreTrainedTokenizerFast", fast(tokenizer_object=core, bos_token="<s>", eos_token="</s>", pad_token="<pad>")
    )


def _with_plain_bytes(tokenizer: Tokenizer) -> Tokenizer:
    """The trainer takes byte tokens only as special ones, which decoding leaves out; bytes are text."""
    from tokenizers import Tokenizer

    spec = json.loads(tokenizer.to_str())
    spec["added_tokens"] = [token for token in spec["added_tokens"] if not token["content"].startswith("<0x")]
    return Tokenizer.from_str(json.dumps(spec))


def _sample(item: StandIn, world: ToyWorld) -> Iterator[str]:
    """Mostly English, topics and code, a little of the languages the tokenizer is to know."""
    for name, count in ((f"monolingual/{ENGLISH}", 1), (f"topics/{ENGLISH}", 1), (f"code/{CODE}", 1)):
        yield from _head(world.file(f"{name}.jsonl"), count * _SAMPLE_DOCS)
    for code, tongue in registry().items():
        yield f"[{tongue.name}]: \n" * 40
        if tongue.script not in item.unseen_scripts:
            yield from _head(world.file(f"samples/{code}.jsonl"), 20 if tongue.branch in item.best_branches else 8)


def _head(path: Path, count: int) -> Iterator[str]:
    for (text,), _ in zip(json_lines(path, "text"), range(count), strict=False):
        yield text
