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
    form: str = "tagged"
    """How sentence pairs become documents: pair, tagged or interlinear (cpt/corpora/bitext.py)."""
    direction: str = "forward"
    """Which side comes first: forward (the pair's first language), reverse, or both by turns."""
    pairs_per_document: int = 10


@dataclass
class LangCategoryConfig:
    """Group `langcat`, node `lang_category`: which languages, how much of each."""

    name: str = MISSING
    label: str = MISSING
    hub: str = ""
    """Name of the study's released data set, where there is one."""
    words: dict[str, int] = field(default_factory=dict)
    """Monolingual budget of each trained language."""
    pairs: dict[str, list[int]] = field(default_factory=dict)
    """Bilingual budget of each pair `source-target`: words of the source side and of the target side."""
    related: list[str] | None = None
    """Unseen languages to evaluate; none given means the registry's relatives of the trained ones."""


@dataclass
class CodeConfig:
    """How much code a run with `code=true` takes an epoch."""

    share: float | None = None
    """Of an epoch without replay, in `mixing.unit`; then the amount is not read."""
    amount: int = 50_000_000
    unit: str = "tokens"
    tokenizer: str = ""
    """Base model whose tokenizer counts, when the unit is tokens."""
    inferred: bool = True
    """The study did not publish its amount; ours is inferred from its step counts."""


@dataclass
class ReplayConfig:
    """General text as the base model has seen it, mixed into everything else against forgetting."""

    share: float = 0.0
    """Of an epoch, in `mixing.unit`."""
    language: str = "eng_Latn"


@dataclass
class StageConfig:
    """A part of the training with a mix of its own."""

    until: float = 1.0
    """Share of the training after which the next stage begins; of the last one 1."""
    factors: dict[str, float] = field(default_factory=dict)
    """By language, `code` or `replay`: how much more of its sources than the mix has; 1 where nothing is said."""


@dataclass
class MixingConfig:
    """Group `mixing`: how sources are weighed."""

    kind: str = "explicit"
    """explicit: the language category's budgets; proportional, temperature, unimax: a total shared out by what there
    is of each source."""
    budget_factor: float = 1.0
    """Every budget is multiplied by this; the toy scale is the study at a fraction of its size."""
    total: float | None = None
    """Of an epoch without code and replay, for kinds that share it out; none means the budgets' sum."""
    unit: str = "words"
    """In which a total is shared out, and shares are measured: words, bytes, or tokens of a named tokenizer."""
    tokenizer: str = ""
    """Base model whose tokenizer counts, when the unit is tokens: one for all models."""
    temperature: float = 1.0
    """Shares follow what there is to the power of 1 / temperature."""
    max_epochs: float = 4.0
    """No source is read more often in the whole training, where its kind repeats sources at all."""
    short: str = "less"
    """What happens to an explicit budget that its source cannot fill: less, or repeat up to `max_epochs`."""
    code: CodeConfig = field(default_factory=CodeConfig)
    replay: ReplayConfig = field(default_factory=ReplayConfig)
    stages: list[StageConfig] = field(default_factory=list)


@dataclass
class TextConfig:
    """Where the text of one kind is. Patterns may hold {language}, or {source} and {target}, and the code MADLAD-400
    has for each: {madlad}, {madlad_source}, {madlad_target}."""

    files: str = ""
    """Files of this machine, `https://` addresses, or `toy:` files of the toy world; of a hub's data set, its files."""
    hub: str = ""
    """A data set of a Hugging Face hub."""
    revision: str = "main"
    layout: str = ""
    """A name of cpt/corpora/reading; none means by the files' ending."""
    fields: list[str] = field(default_factory=list)
    """JSON fields, columns or TMX languages that hold the text, or the two sides of a pair."""
    newline: str = ""
    """What stands for a line break in the texts."""


@dataclass
class CorporaConfig:
    """Group `corpora`: where text comes from."""

    name: str = MISSING
    monolingual: TextConfig = field(default_factory=TextConfig)
    bitext: TextConfig = field(default_factory=TextConfig)
    code: TextConfig = field(default_factory=TextConfig)
    general: TextConfig = field(default_factory=TextConfig)
    """What replay takes."""
    other: dict[str, TextConfig] = field(default_factory=dict)
    """Sources that lie elsewhere, by name: mono/zul_Latn, bi/eng_Latn-zul_Latn."""
    matched: bool = False
    """Whether a monolingual run takes of every language the words that the bilingual one takes of it, as these pairs
    turn out to hold them; else both take their own budgets, which are matched as far as pairs are as the study's."""


@dataclass
class CleaningConfig:
    """Group `cleaning`: what happens to text before it is tokenised."""

    name: str = MISSING
    steps: dict[str, Any] = field(default_factory=dict)
    """Steps by name in their order, with the settings of each (cpt/corpora/cleaning/)."""


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
    """masked: documents that share a sequence do not see each other, nothing is lost; joined: as the study's tool."""
    weight_decay: float = 0.0
    beta1: float = 0.9
    beta2: float = 0.999
    clip: float = 1.0
    curve: CurveConfig = field(default_factory=CurveConfig)


@dataclass
class PartitionConfig:
    """What a cluster's partition allows and how it charges; none means no limit is known."""

    minutes: int | None = None
    """A job's longest time."""
    nodes: int | None = None
    """Of a job, at most."""
    jobs: int | None = None
    """A user's jobs at once, waiting ones too; every task of an array counts."""
    running: int | None = None
    """A user's jobs that run at once."""
    devices: int = 0
    """GPUs of a node."""
    cores: int | None = None
    """Usable cores of a node."""
    memory_gb: int | None = None
    """Usable memory of a node."""
    whole_nodes: bool = False
    """Whether a job gets, and pays for, whole nodes."""


@dataclass
class BillingConfig:
    """What a device's hour is charged as."""

    unit: str = "device-hours"
    per_device_hour: float = 1.0


@dataclass
class QuotaConfig:
    """What the folders of `paths.runs` and `paths.cache` may hold together; none means no limit is known."""

    gb: float | None = None
    files: int | None = None


@dataclass
class HardwareConfig:
    """Group `hardware`: where runs train, and how a step is split there. Recorded, never part of a run's identity.

    On a cluster a job asks for what `hydra.launcher` says, in the words of hydra-submitit-launcher; `jobs` and
    `exceptions` say what is different in a stage and in some runs.
    """

    name: str = MISSING
    account: str | None = None
    """Whom a cluster's jobs are charged to."""
    required: dict[str, str] = field(default_factory=dict)
    """Keys of this group that must be given, and what a person is told who does not. A file's `???` would not do: where
    a key's default is null, a mandatory value that is missing leaves it at that."""
    container: str | None = None
    """The image that jobs run in, where `hydra.launcher.python` names it."""
    venv: str | None = None
    """The project's own packages beside the image's, as a squashed virtual environment, where jobs run in an image."""
    jobs: dict[str, Any] = field(default_factory=dict)
    """By stage (prepare, train, evaluate, compare, doctor): keys of `hydra.launcher` that are different there."""
    exceptions: dict[str, Any] = field(default_factory=dict)
    """By pattern of run names (`V7-*`) and stage: keys that are different again."""
    partitions: dict[str, PartitionConfig] = field(default_factory=dict)
    """What the partitions that are named here or in `hydra.launcher` allow."""
    billing: BillingConfig = field(default_factory=BillingConfig)
    quota: QuotaConfig = field(default_factory=QuotaConfig)
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
    preparing: int | None = None
    """Processes that clean and tokenise; none means one for each core."""
    stop_seconds: float = 60
    """How long a run may take to finish its step and save when it is asked to stop; then it is killed."""
    kernels: str = "auto"
    """auto: flash-attn and Liger kernels where they are installed and there is a GPU; torch: neither."""
    backend: str = "torch"
    """What models are evaluated on: torch, or vllm where that is installed."""
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
    spbleu_sha256: str = "14bb8dfb35c0ffdea7bc01e56cea38b9e3d5efcdcb9c251d6b40538e1aab555a"
    """Sum of the tokenizer model behind spBLEU; with another one there is no spBLEU (cpt/evals/metrics/spbleu.py)."""


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
    """Folder of training text, which `corpora=folder` reads."""
    glotlid: str | None = None
    """A fastText model that names languages, such as GlotLID's; none means a small one, trained on FLORES-200's dev."""
    heldout: str | None = None
    sib200: str | None = None
    """A folder in the data set's own layout, or `hub:<data set>`."""
    flores200: str | None = None
    """A folder in the data set's own layout, `hub:<data set>`, or the address of the published archive."""
    harness: str | None = None
    """Folder of the files of lm-eval's benchmarks, a folder each (docs/benchmarks.md), or `hub`, to fetch them."""


@dataclass
class StudyConfig:
    """One composed run of a study."""

    study: str = MISSING
    scale: str = MISSING
    seed: int = 1
    code: bool = False
    protocol: list[str] = field(default_factory=list)
    """How benchmarks that have several protocols are asked: paper, sound, or both, each in rows of its own."""
    checkpoint: str | None = None
    """For evaluate.py: a model's folder, a hub id, a run or a study; {name} in it is the run's name on a hub."""
    dry_run: bool = False
    wait: bool = False
    """On a cluster: stay until the last job has ended, instead of returning once all are submitted."""
    prepare_only: bool = False
    """Fetch, clean and tokenise everything, and train nothing: for a machine with a network and no GPU."""
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
    """Name of the chosen sweep file; its content sets other keys."""
