"""Typed configuration. Hydra's composed configuration is checked against these classes; all other code reads them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING


@dataclass
class ModelConfig:
    """Group `model`: a base model."""

    name: str = MISSING
    label: str = MISSING
    """Its part of run names."""
    hub: str = MISSING
    path: str = MISSING
    """The model to load: `toy:<name>`, a folder in the Hugging Face layout, or a hub id."""
    revision: str = "main"
    weights: str = "pretrained"
    """`pretrained`, or `random`: the architecture with random weights, to measure speed and memory."""
    parameters: float = MISSING
    """Number of parameters of the real model, for planning."""
    tokens_per_word: dict[str, float] = field(default_factory=dict)
    """Assumed where there is no text to count; by language, `code`, and `default`."""


@dataclass
class DataConfig:
    """Group `data`, node `data_mix`: monolingual or bilingual."""

    name: str = MISSING
    label: str = MISSING
    form: str = "tagged"
    """How sentence pairs become documents: pair, tagged or interlinear (cpt/corpora/bitext.py)."""
    direction: str = "forward"
    """Which side comes first: forward (the pair's first language), reverse, or both alternately."""
    pairs_per_document: int = 10


@dataclass
class LangCategoryConfig:
    """Group `langcat`, node `lang_category`: the languages and the budget of each."""

    name: str = MISSING
    label: str = MISSING
    hub: str = ""
    """Name of the study's released data set, if there is one."""
    words: dict[str, int] = field(default_factory=dict)
    """Monolingual budget of each trained language."""
    pairs: dict[str, list[int]] = field(default_factory=dict)
    """Bilingual budget of each pair `source-target`: words of the source side and of the target side."""
    related: list[str] | None = None
    """Unseen languages to evaluate; by default the registry's relatives of the trained languages."""


@dataclass
class CodeConfig:
    """The amount of code in an epoch of a run with `code=true`."""

    share: float | None = None
    """Share of an epoch without replay, in `mixing.unit`; it replaces the amount."""
    amount: int = 50_000_000
    unit: str = "tokens"
    tokenizer: str = ""
    """Base model whose tokenizer counts, if the unit is tokens."""
    inferred: bool = True
    """The study did not publish its amount; this one is inferred from its step counts."""


@dataclass
class ReplayConfig:
    """General text, similar to the base model's pretraining data, mixed in to reduce forgetting."""

    share: float = 0.0
    """Share of an epoch, in `mixing.unit`."""
    language: str = "eng_Latn"


@dataclass
class StageConfig:
    """A part of the training with its own mix."""

    until: float = 1.0
    """Share of the training at which the stage ends; 1 for the last stage."""
    factors: dict[str, float] = field(default_factory=dict)
    """By language, `code` or `replay`: the factor on the amount of its sources; 1 by default."""


@dataclass
class MixingConfig:
    """Group `mixing`: how much of each source an epoch takes."""

    kind: str = "explicit"
    """explicit: the language category's budgets; proportional, temperature, unimax: a total divided by the sizes of the
    sources."""
    budget_factor: float = 1.0
    """A factor on every budget; the toy scale is the study at a fraction of its size."""
    total: float | None = None
    """Total of an epoch without code and replay, for kinds that divide it; by default the sum of the budgets."""
    unit: str = "words"
    """The unit of totals and shares: words, bytes, or tokens of a named tokenizer."""
    tokenizer: str = ""
    """Base model whose tokenizer counts for all models, if the unit is tokens."""
    temperature: float = 1.0
    """Shares are proportional to the size of a source to the power of 1 / temperature."""
    max_epochs: float = 4.0
    """The most often that a source is read in the whole training, for kinds that repeat sources."""
    short: str = "less"
    """How a source that cannot fill its explicit budget is used: `less` reads it once, `repeat` up to `max_epochs`."""
    code: CodeConfig = field(default_factory=CodeConfig)
    replay: ReplayConfig = field(default_factory=ReplayConfig)
    stages: list[StageConfig] = field(default_factory=list)


@dataclass
class TextConfig:
    """The location of one kind of text. Patterns may contain {language}, or {source} and {target}, and the codes of
    MADLAD-400: {madlad}, {madlad_source}, {madlad_target}."""

    files: str = ""
    """Local files, `https://` addresses, or `toy:` files of the toy world; with `hub`, files of the data set."""
    hub: str = ""
    """A data set on a Hugging Face hub."""
    revision: str = "main"
    layout: str = ""
    """A layout of cpt/corpora/reading; by default chosen by the ending of the files."""
    fields: list[str] = field(default_factory=list)
    """JSON fields, columns or TMX languages with the text, or with the two sides of a pair."""
    newline: str = ""
    """The string that represents a line break in the texts."""


@dataclass
class CorporaConfig:
    """Group `corpora`: the locations of text."""

    name: str = MISSING
    monolingual: TextConfig = field(default_factory=TextConfig)
    bitext: TextConfig = field(default_factory=TextConfig)
    code: TextConfig = field(default_factory=TextConfig)
    general: TextConfig = field(default_factory=TextConfig)
    """The source of replay."""
    other: dict[str, TextConfig] = field(default_factory=dict)
    """Sources in other locations, by name: mono/zul_Latn, bi/eng_Latn-zul_Latn."""
    matched: bool = False
    """If true, a monolingual run takes as many words of each language as the bilingual run finds in its pairs.
    If false, both use their own budgets, which match where pairs have the proportions of the study's."""


@dataclass
class CleaningConfig:
    """Group `cleaning`: the steps that text passes before it is tokenised."""

    name: str = MISSING
    steps: dict[str, Any] = field(default_factory=dict)
    """Steps by name, in order, with the settings of each (cpt/corpora/cleaning/)."""


@dataclass
class ScheduleConfig:
    """Group `schedule`: the learning rate over the steps."""

    kind: str = MISSING
    epochs: float | None = None
    """Length of the schedule; by default that of the training (`train.epochs`)."""
    warmup: float = 0.03
    """Share of the schedule's steps in which the rate rises to its peak, `train.lr`."""
    start: float = 0.0
    """Rate at the start of the warm-up, as a share of the peak."""
    floor: float = 0.0
    """Rate at the end, as a share of the peak."""
    cooldown: float = 0.0
    """Share of the steps in which an infinite schedule falls from its peak to its level."""
    cooldown_form: str = "cosine"
    level: float = 1.0
    """Constant rate of an infinite schedule, as a share of the peak."""
    decay: float = 0.0
    """Share of the steps, at the end, in which wsd and infinite fall to the floor."""
    decay_form: str = "linear"


@dataclass
class CurveConfig:
    """Evaluation during training: held-out bits per byte, and the distance from the base model's weights."""

    at: list[float] = field(default_factory=lambda: [0.0, 0.25, 0.5, 0.75, 1.0])
    """Shares of the training at which to evaluate."""
    every: int | None = None
    """Also evaluate after every this many steps; by default only at those shares."""
    bytes: int = 50_000
    """Bytes of each language's held-out text, from its start."""


@dataclass
class TrainConfig:
    lr: float = MISSING
    epochs: float = MISSING
    """The length of the training."""
    global_batch: int = MISSING
    """Sequences per step, on any hardware: part of the experiment."""
    sequence_length: int = MISSING
    save_every: int = MISSING
    keep_last: int = 2
    """How many of the newest checkpoints are retained during training."""
    keep_every: int | None = None
    """Checkpoints at multiples of this many steps are retained for good, at the end without optimizer state."""
    precision: str = MISSING
    packing: str = "masked"
    """masked: documents in one sequence do not attend to each other, and no text is lost; joined: as LLaMA-Factory."""
    weight_decay: float = 0.0
    beta1: float = 0.9
    beta2: float = 0.999
    clip: float = 1.0
    curve: CurveConfig = field(default_factory=CurveConfig)


@dataclass
class PartitionConfig:
    """Limits and charging of a cluster's partition; null means that no limit is known."""

    minutes: int | None = None
    """Longest time limit of a job."""
    nodes: int | None = None
    """Most nodes of a job."""
    jobs: int | None = None
    """Most jobs of a user at once, including waiting ones; every element of an array counts."""
    running: int | None = None
    """Most running jobs of a user."""
    devices: int = 0
    """GPUs of a node."""
    cores: int | None = None
    """Usable cores of a node."""
    memory_gb: int | None = None
    """Usable memory of a node."""
    whole_nodes: bool = False
    """Whether a job is given, and charged for, whole nodes."""


@dataclass
class BillingConfig:
    """How a device-hour is charged."""

    unit: str = "device-hours"
    per_device_hour: float = 1.0


@dataclass
class QuotaConfig:
    """Limits of the folders `paths.runs` and `paths.cache` together; null means that no limit is known."""

    gb: float | None = None
    files: int | None = None


@dataclass
class HardwareConfig:
    """Group `hardware`: where runs train and how a step is divided there. Recorded, never part of a run's identity.

    On a cluster a job requests the resources in `hydra.launcher`, by the keys of hydra-submitit-launcher; `jobs` and
    `exceptions` override them for a stage and for some runs.
    """

    name: str = MISSING
    account: str | None = None
    """The account that a cluster's jobs are charged to."""
    required: dict[str, str] = field(default_factory=dict)
    """Keys of this group that must be set, with the error message for each. `???` does not work here: for a key whose
    default is null, a missing mandatory value leaves null."""
    container: str | None = None
    """The container image of jobs, if `hydra.launcher.python` uses it."""
    venv: str | None = None
    """A squashed virtual environment with the project's packages, added to those of the image."""
    jobs: dict[str, Any] = field(default_factory=dict)
    """By stage (prepare, train, evaluate, compare, doctor): keys of `hydra.launcher` that override it."""
    exceptions: dict[str, Any] = field(default_factory=dict)
    """By pattern of run names (`V7-*`) and stage: keys that override both."""
    partitions: dict[str, PartitionConfig] = field(default_factory=dict)
    """Limits of the partitions that are named here or in `hydra.launcher`."""
    billing: BillingConfig = field(default_factory=BillingConfig)
    quota: QuotaConfig = field(default_factory=QuotaConfig)
    engine: str = "plain"
    """plain for one process; zero1, zero2, zero3 or fsdp2 for any number."""
    processes: int | None = None
    """Processes that train a run together, one per GPU; by default one under plain, else all GPUs of the machine."""
    slots: int | None = None
    """Runs at a time; by default as many as the GPUs, or else the cores, suffice for."""
    threads: int = 1
    """CPU threads per process."""
    micro_batch: int = 4
    """Sequences per process and forward pass; gradients are accumulated over the rest of the global batch."""
    checkpointing: bool = False
    """Activation checkpointing: a fraction of the memory for about a third more compute."""
    compile: bool = False
    """Whether layers are compiled by torch.compile: minutes at the start, faster steps on a GPU."""
    offload: bool = False
    """Optimizer-state CPU offload (ZeRO): an 8B model then fits one large GPU."""
    preparing: int | None = None
    """Processes that clean and tokenise; by default one per core."""
    stop_seconds: float = 60
    """Seconds that a run has to finish its step and save when it must stop; then it is killed."""
    kernels: str = "auto"
    """auto: flash-attn and Liger kernels where they are installed and there is a GPU; torch: neither."""
    backend: str = "torch"
    """The backend of evaluations: torch, or vllm where it is installed."""
    sustained_tflops: float | None = None
    """Sustained speed of a slot, for the times of the plan; null means unknown, and no time is estimated."""


@dataclass
class BenchmarkConfig:
    """One file of group `evals`."""

    protocol: list[str] = field(default_factory=list)
    shots: int = 0
    items: int | None = None
    """Most items per language; by default all."""
    batch: int = 32


@dataclass
class EvalsConfig:
    benchmarks: dict[str, BenchmarkConfig] = field(default_factory=dict)
    bootstrap: int = 1000
    """Bootstrap resamples of every interval."""
    strict: bool = False
    """Whether a language that is missing from a benchmark's folder is an error; by default it is skipped."""
    spbleu_sha256: str = "14bb8dfb35c0ffdea7bc01e56cea38b9e3d5efcdcb9c251d6b40538e1aab555a"
    """SHA-256 of the tokenizer model of spBLEU; with another file there is no spBLEU (cpt/evals/metrics/spbleu.py)."""


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
    """Folder of training text, read by `corpora=folder`."""
    glotlid: str | None = None
    """A fastText language identifier such as GlotLID; by default a small one is trained on FLORES-200 dev."""
    heldout: str | None = None
    sib200: str | None = None
    """A folder in the layout of the data set, or `hub:<data set>`."""
    flores200: str | None = None
    """A folder in the layout of the data set, `hub:<data set>`, or the address of the published archive."""
    harness: str | None = None
    """A folder with one subfolder for each of lm-eval's benchmarks (docs/benchmarks.md), or `hub` to download them."""


@dataclass
class StudyConfig:
    """One composed run of a study."""

    study: str = MISSING
    scale: str = MISSING
    seed: int = 1
    code: bool = False
    protocol: list[str] = field(default_factory=list)
    """Protocols of benchmarks that have several: paper, sound, or both, each in its own rows."""
    checkpoint: str | None = None
    """For evaluate.py: the folder of a model, a hub id, a run or a study; {name} stands for the run's name on a hub."""
    dry_run: bool = False
    wait: bool = False
    """On a cluster: wait until the last job has ended, instead of returning after submission."""
    prepare_only: bool = False
    """Download, clean and tokenise everything without training: for a machine with a network and no GPU."""
    model: ModelConfig = field(default_factory=ModelConfig)
    data_mix: DataConfig = field(default_factory=DataConfig)
    lang_category: LangCategoryConfig = field(default_factory=LangCategoryConfig)
    mixing: MixingConfig = field(default_factory=MixingConfig)
    corpora: CorporaConfig = field(default_factory=CorporaConfig)
    cleaning: CleaningConfig = field(default_factory=CleaningConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    evals: EvalsConfig = field(default_factory=EvalsConfig)
    hardware: HardwareConfig = field(default_factory=HardwareConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    paths: PathsConfig = field(default_factory=PathsConfig)
    sweeps: Any = None
    """The name of the chosen sweep file, whose content sets other keys."""
