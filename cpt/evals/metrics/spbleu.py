"""sacrebleu's flores200 tokenizer, a SentencePiece model: downloaded before a study starts, and always verified.

sacrebleu downloads it on first use, which may be hours into a study on a node without a network, and does not verify
it: a damaged file would give scores that cannot be compared.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from cpt.files import file_hash, locked, replacing
from cpt.hub import OFFLINE, UnavailableError, cached_file, download, offline

if TYPE_CHECKING:
    from sacrebleu.metrics.bleu import BLEU

TOKENIZER = "flores200"
SHA256 = "14bb8dfb35c0ffdea7bc01e56cea38b9e3d5efcdcb9c251d6b40538e1aab555a"
"""Of 4,852,054 bytes; pinned likewise by github.com/Cowlsly/Marla-Remade, scripts/ml/fetch_nllb600.py."""
HUB_MODEL, HUB_FILE = "facebook/nllb-200-distilled-600M", "sentencepiece.bpe.model"
"""The same file on the hub: NLLB-200 splits text with the model that FLORES-200's authors gave sacrebleu."""
WAIT = 3
"""Seconds without a byte until a server is given up: a study that can do without must not wait long for it."""


def model_path() -> Path:
    """Where sacrebleu itself looks: it reads the environment once, when it is imported."""
    from sacrebleu.tokenizers import tokenizer_spm

    name = Path(tokenizer_spm.SPM_MODELS[TOKENIZER]["url"]).name
    return Path(tokenizer_spm.SACREBLEU_DIR) / "models" / name  # type: ignore[attr-defined] # imported there


def at_hand(expected: str = SHA256) -> bool:
    """Whether the model is there and is the one with this sum."""
    path = model_path()
    return path.is_file() and file_hash(path) == expected


def provision(say: Callable[[str], None], expected: str = SHA256) -> bool:
    """Bring the model where a network is; else say in one line what is missing and how to bring it. Never raises."""
    path = model_path()
    if at_hand(expected):
        return True
    try:
        # sacrebleu's own lock: two downloads of one file would otherwise write into each other.
        with locked(path.with_name(f"{path.name}.lock")):
            reason = _bring(path, expected)
    except OSError as error:
        reason = f"{path.parent} cannot be written ({type(error).__name__})"
    if not reason:
        say(f"spBLEU: sacrebleu's {TOKENIZER} tokenizer model is now at {path}")
        return True
    say(
        f"spBLEU is left out and chrF++ alone is measured, for sacrebleu's {TOKENIZER} tokenizer model cannot be had "
        f"({reason}); to have both, save {_addresses()[0]} (sha256 {expected}) as {path}"
    )
    return False


def bleu(expected: str = SHA256) -> BLEU:
    """sacrebleu's BLEU over the model's pieces; its signature belongs to every score."""
    assert at_hand(expected), "the model is missing; sacrebleu would download it unverified"
    from sacrebleu.metrics.bleu import BLEU

    return BLEU(tokenize=TOKENIZER)


def _bring(path: Path, expected: str) -> str:
    """Why it could not be brought, or nothing."""
    if at_hand(expected):  # another process was faster
        return ""
    if path.exists():
        return f"the file there has another sha256, {file_hash(path)}, and is not used; remove it"
    known = cached_file(HUB_MODEL, HUB_FILE)
    if known and file_hash(known) == expected:
        with replacing(path) as out:
            out.write(known.read_bytes())
        return ""
    if offline():
        return OFFLINE
    reasons: list[str] = []
    begun = time.monotonic()
    for address in _addresses():
        if reasons and time.monotonic() - begun > WAIT:  # a network that swallows what is sent does so for all
            break
        try:
            download(address, path, expected, WAIT)
            return ""
        except UnavailableError as error:
            reasons.append(f"{urlsplit(address).netloc}: {error}")
    return "; ".join(reasons)


def _addresses() -> list[str]:
    """The hub, or the mirror of it that is set, and where sacrebleu fetches it."""
    from huggingface_hub import hf_hub_url
    from sacrebleu.tokenizers import tokenizer_spm

    return [hf_hub_url(HUB_MODEL, HUB_FILE), tokenizer_spm.SPM_MODELS[TOKENIZER]["url"]]
