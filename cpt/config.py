"""Typed configuration: what Hydra composes is checked against these classes, and everything after reads only them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING


@dataclass
class ModelConfig:
    """Group `model`: a base model."""

    name: str = MISSING
    label: str = MISSING
    """Its part in run names."""
    hub: str = MISSING
    path: str = MISSING
    """What is loaded: `toy:<name>`, a folder in the Hugging Face layout, or a hub id."""
    revision: str = "main"
    weights: str = "pretrained"
    """`pretrained`, or `random`: the architecture without its weights, for measuring speed and memory."""
    parameters: float = MISSING
    """Of the real model, for planning."""
    tokens_per_word: dict[str, float] = field(default_factory=dict)
    """Assumed where text is not at hand to count; by language, `code`, and `default`."""


@dataclass
class DataConfig:
    """Group `data`, node `data_mix`: monolingual or bilingual."""

    name: str = MISSING
    label: str = MISSING
    pairs_per_document: int = 10


@dataclass
class LangCategoryConfig:
    """Group `langcat`, node `lang_category`: which languages, how much of each."""

    name: str = MISSING
    label: str = MISSING
    words: dict[str, int] = field(default_factory=dict)
    """Monolingual budget of each trained language."""
    pairs: dict[str, list[int]] = field(default_factory=dict)
    """Bilingual budget of each pair `source-target`: words of the source side and of the target side."""
    related: list[str] | None = None
    """Unseen languages to evaluate; none given means the registry's relatives of the trained ones."""


@dataclass
class CodeConfig:
    """How much code a run with `code=true` takes an epoch."""

    amount: int = 50_000_000
    unit: str = "tokens"
    tokenizer: str = ""
    """Base model whose tokenizer counts, when the unit is tokens."""
    inferred: bool = True
    """The study did not publish its amount; ours is inferred from its step counts."""


@dataclass
class MixingConfig:
    """Group `mixing`: how sources are weighed."""

    kind: str = "explicit"
    budget_factor: float = 1.0
    """Every budget is multiplied by this; the toy scale is the study at a fraction of its size."""
    code: CodeConfig = field(default_factory=CodeConfig)


@dataclass
class ScheduleConfig:
    """Group `schedule`: the learning rate's course."""

    kind: str = MISSING
    epochs: float | None = None
    """How long the schedule is; none means as long as training (`train.epochs`)."""
    warmup: float = 0.03
    """Share of the schedule's steps over which the rate rises to its peak, `train.lr`."""
    start: float = 0.0
    """Where the warm-up begins, as a share of the peak."""
    floor: float = 0.0
    """Where the rate ends, as a share of the peak."""
    cooldown: float = 0.0
    """Share of the steps over which an infinite schedule falls from its peak to its level."""
    cooldown_form: str = "cosine"
    level: float = 1.0
    """Where an infinite schedule stays, as a share of the peak."""
    decay: float = 0.0
    """Share of the steps, at the end, over which wsd and infinite fall to the floor."""
    decay_form: str = "linear"


@dataclass
class CurveConfig:
    """Evaluation while training: bits per byte of a little held-out text, and the distance from the base's weights."""

    at: list[float] = field(default_factory=lambda: [0.0, 0.25, 0.5, 0.75, 1.0])
    """Shares of the training after which to evaluate."""
    every: int | None = None
    """And after every so many steps; none means only at those shares."""
    bytes: int = 50_000
    """Of each language's held-out text, from its start."""


@dataclass
class TrainConfig:
    lr: float = MISSING
    epochs: float = MISSING
    """When training stops."""
    global_batch: int = MISSING
    """Sequences per step: part of the experiment, whatever the hardware."""
    sequence_length: int = MISSING
    save_every: int = MISSING
    keep_last: int = 2
    """So many of the newest checkpoints stay while a run trains."""
    keep_every: int | None = None
    """Checkpoints at multiples of so many steps stay for good, at the end without the optimizer's state."""
    precision: str = MISSING
    packing: str = "masked"
    weight_decay: float = 0.0
    beta1: float = 0.9
    beta2: float = 0.999
    clip: float = 1.0
    curve: CurveConfig = field(default_factory=CurveConfig)


@dataclass
class HardwareConfig:
    """Group `hardware`: where runs train, and how a step is split there. Recorded, never part of a run's identity."""

    name: str = MISSING
    engine: str = "plain"
    """plain for one process; zero1, zero2, zero3 or fsdp2 for any number."""
    processes: int | None = None
    """Processes that train a run together, one a GPU; none means one under plain, else all GPUs of the machine."""
    slots: int | None = None
    """Runs at a time; none means as many as GPUs, or else cores, suffice for."""
    threads: int = 1
    """CPU threads of a process."""
    micro_batch: int = 4
    """Sequences a process reads at once; the rest of its share of the global batch is accumulated."""
    checkpointing: bool = False
    """Whether activations are computed anew in the backward pass: a third more work, a fraction of the memory."""
    compile: bool = False
    """Whether layers are compiled by torch.compile: minutes at the start, faster steps on a GPU."""
    offload: bool = False
    """Whether the optimizer's state is kept in the host's memory (ZeRO): an 8B then fits one large GPU."""
    stop_seconds: float = 60
    """How long a run may take to finish its step and save when it is asked to stop; then it is killed."""
    kernels: str = "auto"
    """auto: flash-attn and Liger kernels where they are installed and there is a GPU; torch: neither."""
    sustained_tflops: float | None = None
    """What a slot really reaches, for the plan's times; none means unknown, and no time is guessed."""


@dataclass
class BenchmarkConfig:
    """One file of group `evals`."""

    protocol: list[str] = field(default_factory=list)
    shots: int = 0
    items: int | None = None
    """At most so many items a language; none means all."""
    batch: int = 32


@dataclass
class EvalsConfig:
    benchmarks: dict[str, BenchmarkConfig] = field(default_factory=dict)
    bootstrap: int = 1000
    """Resamples behind every interval."""
    strict: bool = False
    """Whether a language that a benchmark's folder lacks is an error rather than skipped."""


@dataclass
class TrackingConfig:
    """Group `tracking`: where curves and scores are mirrored."""

    mode: str = MISSING
    project: str = "cpt"
    entity: str | None = None


@dataclass
class PathsConfig:
    runs: str = "runs"
    cache: str = ".cache/cpt"
    corpora: str | None = None
    """Folder of training text (layout: cpt/corpora/library.py); none means the toy world at scale toy."""
    heldout: str | None = None
    sib200: str | None = None
    flores200: str | None = None


@dataclass
class StudyConfig:
    """One composed run of a study."""

    study: str = MISSING
    scale: str = MISSING
    seed: int = 1
    code: bool = False
    dry_run: bool = False
    model: ModelConfig = field(default_factory=ModelConfig)
    data_mix: DataConfig = field(default_factory=DataConfig)
    lang_category: LangCategoryConfig = field(default_factory=LangCategoryConfig)
    mixing: MixingConfig = field(default_factory=MixingConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    evals: EvalsConfig = field(default_factory=EvalsConfig)
    hardware: HardwareConfig = field(default_factory=HardwareConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    paths: PathsConfig = field(default_factory=PathsConfig)
    sweeps: Any = None
    """Name of the chosen sweep file; its content sets other keys."""
