"""Bad input ends in one readable message that names key, value and reason, before anything starts."""

from collections.abc import Callable

import pytest

Mistake = Callable[..., str]

ONE_MISTAKE = [
    ("trian.lr=1", "trian.lr=1: no such key; did you mean 'train.lr'?"),
    ("train.lrr=1", "train.lrr=1: no such key; did you mean 'train.lr'?"),
    ("lr=3", "lr=3: no such key; did you mean 'train.lr'?"),
    ("+foo=1", "foo=1: no such key"),
    ("train.lr=abc", "train.lr=abc: expected a number"),
    ("code=maybe", "code=maybe: expected true or false"),
    ("seed=x", "seed=x: expected a whole number"),
    ("train=3", "train=3: it has its own keys; set one of them, for example train.lr"),
    ("model=l4", "model=l4: no such choice; known: l2, l3, v7; did you mean 'l3'?"),
    ("langcat=alto", "langcat=alto: no such choice; known: alt, sel, stag; did you mean 'alt'?"),
    ("scale=papr", "scale=papr: no such choice; known: paper, toy; did you mean 'paper'?"),
    (
        "sweeps=paper63",
        "sweeps=paper63: no such choice; known: mono_vs_bi, paper36, released36, smoke; did you mean 'paper36'?",
    ),
    ("tracking=wandbb", "tracking=wandbb: no such choice; known: none, offline, trackio, wandb; did you mean 'wandb'?"),
    ("evals=[sib2000]", "taxi1500, xcopa, xlsum, xnli, xstorycloze; did you mean 'sib200'?"),
    ("evals=[]", "evals=[]: a run is compared by what is measured: choose from arc, belebele, bpb, bpb_flores, "),
    ("data_mix=bi", "data_mix=bi: the node is filled by its group: write data=bi"),
    ("lang_category=sel", "lang_category=sel: the node is filled by its group: write langcat=sel"),
    ("train.lr=-1", "train.lr=-1.0: expected a number above 0"),
    ("train.lr=inf", "train.lr=inf: expected a number above 0 and below 1e+12"),
    ("train.beta1=2", "train.beta1=2.0: expected a number from 0 to below 1"),
    ("++train.lrr=1", "train.lrr=1: no such key; did you mean 'train.lr'?"),
    ("model.label=a/b", "model.label=a/b: it names a folder"),
    ("model=null", "a group needs one of its choices, not null; groups: model, data"),
    ("hydra/launcher=basic", "hydra/launcher: a study needs its own launcher"),
    ("train.epochs=0", "train.epochs=0.0: expected a number above 0"),
    ("train.global_batch=5", "train.global_batch=5: not divisible by hardware.micro_batch=4"),
    ("train.precision=fp16", "train.precision=fp16: expected one of fp32, bf16"),
    ("schedule.epochs=1", "schedule.epochs=1: training goes on for train.epochs=2"),
    ("schedule.warmup=1.5", "schedule.warmup=1.5: expected a share of the schedule"),
    (
        "schedule=cosin",
        "schedule=cosin: no such choice; known: constant, cosine, infinite, linear, rewarm_cosine, study",
    ),
    (
        "schedule.kind=cosin",
        "schedule.kind=cosin: expected one of constant, linear, cosine, wsd, infinite; did you mean",
    ),
    ("schedule.epochs=inf", "schedule.epochs=inf: training goes on for train.epochs=2"),
    ("schedule.floor=1.5", "schedule.floor=1.5: expected a share of train.lr, from 0 to 1"),
    ("schedule.start=-0.1", "schedule.start=-0.1: expected a share of train.lr, from 0 to 1"),
    ("schedule.level=nan", "schedule.level=nan: expected a share of train.lr, from 0 to 1"),
    ("schedule.decay=-0.2", "schedule.decay=-0.2: expected a share of the schedule, from 0 to below 1"),
    ("schedule.decay=0.2", "schedule.decay=0.2: schedule.kind=cosine has no such setting, only wsd and infinite"),
    ("hardware.slots=0", "hardware.slots=0: expected at least 1"),
    ("hardware.engine=zero4", "hardware.engine=zero4: expected one of plain, zero1, zero2, zero3, fsdp2; did you mean"),
    ("hardware.processes=2", "hardware.processes=2: engine plain is one process; choose"),
    ("hardware.processes=0", "hardware.processes=0: expected at least 1"),
    ("hardware.offload=true", "hardware.offload=true: engine plain keeps it on the device; choose zero2"),
    ("hardware.kernels=fast", "hardware.kernels=fast: expected one of auto, torch"),
    ("model.weights=none", "model.weights=none: expected one of pretrained, random"),
    ("train.keep_last=0", "train.keep_last=0: expected at least 1 checkpoint to go on from"),
    ("train.keep_every=0", "train.keep_every=0: expected a number of steps of at least 1"),
    ("train.curve.at=[0.5,2]", "train.curve.at=[0.5, 2.0]: expected shares of the training, from 0 to 1"),
    ("seed=-1", "seed=-1: expected a whole number from 0 to below 2^32"),
    ("study=a/b", "study=a/b: it names a folder"),
    ("hardware.backend=vllm", "hardware.backend=vllm: vllm is not installed here"),
    ("evals=[belebele]", "paths.harness=null: evals has belebele, which reads its files from there"),
    ("checkpoint=model", "checkpoint=model: launch.py trains; `python evaluate.py checkpoint=…` evaluates it"),
    ("paths.sib200=/no/such", "paths.sib200=/no/such: no such folder"),
    ("paths.flores200=/no/such", "paths.flores200=/no/such: no such folder"),
    ("model.path=/no/such", "model.path=/no/such: no config.json there"),
    ("model.path=toy:l9", "model.path=toy:l9: no such stand-in; known: l3, l2, v7; did you mean 'l3'?"),
    ("model.path=some/model", "model.path=some/model: not in the local cache and HF_HUB_OFFLINE=1"),
    ("+lang_category.words.zul_Lat=5", "language 'zul_Lat' is not in the registry; did you mean 'zul_Latn'?"),
    ("lang_category.words.zul_Latn=0", "lang_category.words.zul_Latn=0: expected a budget above 0 words"),
    ("lang_category.related=[zul_Latn]", "lang_category.related=zul_Latn: it is trained on"),
    ("evals.benchmarks.sib200.protocol=[papr]", "evals.benchmarks.sib200.protocol=papr: expected paper or sound"),
    ("protocol=[papr]", "protocol=papr: expected paper or sound; did you mean 'paper'?"),
    ("model==l3", "not of the form key=value"),
    ("train.lr", "not of the form key=value"),
]


@pytest.mark.parametrize(("argument", "message"), ONE_MISTAKE, ids=[argument for argument, _ in ONE_MISTAKE])
def test_one_mistake_is_one_message(mistake: Mistake, argument: str, message: str) -> None:
    told = mistake(argument)
    assert message in told
    assert len(told.splitlines()) == 1


@pytest.mark.parametrize(
    ("schedule", "argument", "message"),
    [
        ("wsd", "warmup=0.9", "schedule.warmup=0.9: with schedule.cooldown=0 and schedule.decay=0.2 it makes 1.1 of"),
        ("wsd", "decay_form=root", "schedule.decay_form=root: expected one of linear, cosine, 1-sqrt"),
        ("wsd", "decay_form=exponential", "schedule.floor=0.0: an exponential decay never reaches 0"),
        ("infinite", "floor=0.2", "schedule.floor=0.2: above schedule.level=0.1"),
        ("infinite", "cooldown=0", "schedule.cooldown=0.0: the rate would jump from its peak to schedule.level=0.1"),
        ("constant", "floor=0.1", "schedule.floor=0.1: schedule.kind=constant has no such setting"),
    ],
)
def test_phases_of_a_schedule_that_do_not_fit(mistake: Mistake, schedule: str, argument: str, message: str) -> None:
    told = mistake(f"schedule={schedule}", f"schedule.{argument}")
    assert message in told
    assert len(told.splitlines()) == 1


def test_a_published_protocol_has_its_own_number_of_shots(mistake: Mistake) -> None:
    told = mistake("protocol=[paper]", "evals.benchmarks.sib200.shots=5")
    assert told == "evals.benchmarks.sib200.shots=5: protocol paper has 3; choose protocol=[sound] for another number"


def test_real_text_must_be_named_before_the_paper_scale_starts(mistake: Mistake) -> None:
    told = mistake("scale=paper", "corpora=folder")
    assert "paths.corpora=null: corpora=folder reads a folder of text" in told
    assert "paths.flores200=null: evals has flores200" in told


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            "hardware.processes=2",
            "train.global_batch=4: not divisible by hardware.micro_batch=4 times hardware.processes=2",
        ),
        ("hardware.compile=true", "hardware.compile=true: ZeRO's own hooks break compiled layers"),
    ],
)
def test_an_engine_for_many_that_cannot_do_it(mistake: Mistake, more: str, message: str) -> None:
    assert message in mistake("hardware.engine=zero3", more)


def test_all_runs_are_checked_and_the_wrong_ones_named(mistake: Mistake) -> None:
    told = mistake("-m", "train.global_batch=4,6", "data=mono,bi")
    assert told.startswith("train.global_batch=6: not divisible by hardware.micro_batch=4")
    assert told.endswith("[L3-Mono-Alt, L3-Bi-Alt]")


def test_points_that_are_the_same_run_are_refused(mistake: Mistake) -> None:
    assert "are the same run L3-Mono-Alt-" in mistake("-m", "evals.bootstrap=200,300")


@pytest.mark.parametrize("axis", ["study=a,b", "dry_run=true,false", "scale=toy,paper", "tracking=none,offline"])
def test_what_belongs_to_the_launch_is_no_axis(mistake: Mistake, axis: str) -> None:
    key = axis.split("=")[0]
    assert (
        mistake("-m", axis) == f"{key}: must be the same for all runs of a launch; launch the sweep once for each value"
    )


def test_a_corpus_folder_that_lacks_a_source(mistake: Mistake, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("corpora")
    told = mistake("corpora=folder", f"paths.corpora={folder}")
    assert f"corpora.monolingual={folder}/monolingual/eng_Latn.*: no such file, which this run trains on" in told
    assert f"paths.corpora={folder}: corpora=toy does not read it" in mistake(f"paths.corpora={folder}")


def test_a_damaged_line_is_named(mistake: Mistake, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("corpora")
    for code in ["eng_Latn", "zho_Hans", "ceb_Latn", "mar_Deva", "zul_Latn", "khm_Khmr"]:
        path = folder / "monolingual" / f"{code}.jsonl"
        path.parent.mkdir(exist_ok=True)
        path.write_text('{"text": "a b c"}\n' if code != "zul_Latn" else '{"txt": "a"}\n')
    told = mistake("corpora=folder", f"paths.corpora={folder}")
    assert "zul_Latn.jsonl:1: has no field 'text'; most of mono/zul_Latn cannot be read as jsonl" in told
