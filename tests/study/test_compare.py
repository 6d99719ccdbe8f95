"""Two evaluated runs beside each other, what a run was asked, and forgetting: from kept answers, without a model."""

import csv
import dataclasses
import json
import shutil
from dataclasses import asdict

import pytest
from conftest import run_command
from omegaconf import OmegaConf

from cpt import load_study
from cpt.cli import main as cpt
from cpt.errors import UserError
from cpt.evals.benchmark import Question, Unit
from cpt.evals.benchmarks.sib200 import LABELS
from cpt.evals.items import Items
from cpt.evals.questions import Choice, Continuation, Likelihood
from cpt.evals.rows import Row
from cpt.results.analysis.change.forgetting import FORGETTING
from cpt.results.rows.table import read_table
from cpt.study.compare.forgetting_table import current_forgetting
from cpt.study.state.evaluated_run import find_run

MONO, BI, BASE = "L3-Mono-Alt-11111111", "L3-Bi-Alt-22222222", "L3-Base-00000000"
ENGLISH, ZULU = Unit("sib200", "eng_Latn", "", "sound"), Unit("sib200", "zul_Latn", "", "sound")
BITS, CODE = Unit("bpb", "eng_Latn", "", ""), Unit("bpb", "code", "", "")
TO_ZULU = Unit("flores200", "zul_Latn", "en-x", "sound")
KEY, LATER = "0" * 16, "f" * 16


@pytest.fixture(scope="module")
def config():
    """Composed once."""
    found = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cpt.study.launch.launch_study.launch_study", lambda configs, executor: found.extend(configs))
        run_command(patch, "model=l3", "data=mono", "langcat=alt", "evals.bootstrap=200")
    return found[0]


@pytest.fixture
def study(config, tmp_path):
    """A study of two runs and their base, frozen as a launch would, with nothing evaluated."""
    nowhere = str(tmp_path / "nowhere")  # no text to train a language identifier on, which would take a while
    paths = dataclasses.replace(config.paths, cache=str(tmp_path / "cache"), sib200=nowhere, flores200=nowhere)
    for run_id in (MONO, BI, BASE):
        mix = dataclasses.replace(config.data_mix, name=run_id.split("-")[1].lower(), label=run_id.split("-")[1])
        frozen = dataclasses.replace(config, data_mix=mix, paths=paths)
        folder = tmp_path / "runs/pilot" / run_id
        folder.mkdir(parents=True)
        (folder / "config.yaml").write_text(OmegaConf.to_yaml(OmegaConf.structured(frozen)), encoding="utf-8")
    categories = [["alt", [["eng_Latn", "english"], ["zul_Latn", "train"]]]]
    (folder / "categories.json").write_text(json.dumps(categories))
    return tmp_path / "runs/pilot"


def keep(folder, unit, questions, answers, key=KEY):
    """Answers as an evaluation leaves them, the last of the questions unanswered where answers are too few."""
    Items(folder / "items", unit, key).append(0, range(len(answers)), questions, answers)
    with (folder / "evals.jsonl").open("a") as file:
        file.write(json.dumps({"key": key, "unit": asdict(unit), "scores": []}) + "\n")


def topics(right, of=40, wording="is it {}?"):
    """A question each; the first `right` of them are answered rightly."""
    asked = [Question(Choice(wording.format(n), tuple(LABELS)), {"id": str(n), "label": "travel"}) for n in range(of)]
    best = ["travel" if number < right else "sports" for number in range(of)]
    return asked, [[[float(label == chosen), False] for label in LABELS] for chosen in best]


def texts(factor, of=30):
    """Texts of 10 bytes that are very differently hard; their nats times a factor."""
    return [Question(Likelihood(f"text {n:05}")) for n in range(of)], [factor * (n + 1.0) for n in range(of)]


def compare(study, *more):
    file = study.parent / "out.csv"
    with pytest.raises(SystemExit) as ended:
        cpt(["--runs", str(study.parent), "compare", "L3-Bi-Alt", "L3-Mono-Alt", "--csv", str(file), *more])
    assert ended.value.code == 0
    with file.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def test_every_metric_of_both_is_compared_over_the_same_items(study, capsys):
    for unit, (mine, theirs) in {ZULU: (30, 20), ENGLISH: (40, 39)}.items():
        keep(study / BI, unit, *topics(mine))
        keep(study / MONO, unit, *topics(theirs))
    zulu, english = compare(study)
    assert (zulu["run_id"], zulu["other_id"], zulu["language"]) == (BI, MONO, "zul_Latn")
    assert [float(zulu[name]) for name in ("value", "other", "difference", "n")] == [0.75, 0.5, 0.25, 40]
    assert 0.1 < float(zulu["ci_low"]) < 0.25 < float(zulu["ci_high"]) < 0.4
    assert (zulu["verdict"], english["verdict"]) == ("better", "unclear")
    shown = capsys.readouterr().out
    assert "toy" in shown.lower()
    assert "2 compared; in 1 the 95 % interval" in shown
    assert len(compare(study, "--language", "zul_Latn")) == 1


def test_what_is_not_compared_is_said_with_its_reason(study, capsys):
    keep(study / BI, TO_ZULU, *translations(["ihhotela"], tokens=9))
    keep(study / BI, ENGLISH, *topics(30), key=LATER)
    keep(study / MONO, ENGLISH, *topics(30))
    keep(study / BI, BITS, *texts(1.0))
    keep(study / MONO, BITS, texts(1.0)[0], texts(1.0)[1][:-1])
    for folder, wording in ((BI, "is it {}?"), (MONO, "is {} it?")):
        keep(study / folder, CODE, *topics(30, wording=wording))
    for folder in (BI, MONO):
        keep(study / folder, ZULU, *topics(30))
        next((study / folder / "items").glob("sib200.zul_Latn*")).unlink()
    assert compare(study) == []
    shown = capsys.readouterr().out
    assert f"only {BI} was evaluated in it: flores200 zul_Latn en-x sound" in shown
    assert f"{BI} has no saved answers of it: sib200 zul_Latn sound" in shown
    assert "different prompts: other files or another version of the benchmark: sib200 eng_Latn sound" in shown
    assert f"{MONO} has not answered every question: bpb eng_Latn" in shown
    assert "the saved questions differ: bpb code" in shown


def test_other_settings_are_named(study, capsys):
    config = study / MONO / "config.yaml"
    config.write_text(config.read_text().replace("shots: 3", "shots: 5"))
    keep(study / BI, ENGLISH, *topics(30), key=LATER)
    keep(study / MONO, ENGLISH, *topics(30))
    assert compare(study) == []
    assert "different prompts: shots 3 / 5: sib200 eng_Latn sound" in capsys.readouterr().out


def translations(outputs, tokens):
    facts = [{"source": f"the hotel {n}", "reference": f"ihhotela {n}"} for n in range(len(outputs))]
    return [Question(Continuation(f"[English]: {f['source']}\n[Zulu]:", tokens), f) for f in facts], outputs


def test_a_limit_counted_in_the_model_s_own_tokens_makes_no_other_question(study):
    keep(study / BI, TO_ZULU, *translations(["ihhotela 0", "ihhotela 1", "", "ihhotela 3"], tokens=9))
    keep(study / MONO, TO_ZULU, *translations(["", "", "", "ihhotela 3"], tokens=14))
    found = {line["metric"]: line for line in compare(study)}
    assert float(found["empty"]["difference"]) == -0.5
    assert found["chrf++"]["n"] == "4"
    assert float(found["chrf++"]["difference"]) > 0


def test_a_mistaken_name_is_answered_with_the_right_one(study):
    keep(study / BI, ENGLISH, *topics(30))
    runs = study.parent
    for word in (BI, "L3-Bi-Alt", "pilot/L3-Bi-Alt", f"pilot/{BI}", str(study / BI)):
        assert find_run(runs, word).folder == study / BI
    with pytest.raises(UserError, match=r"no run 'L3-Bo-Alt'.*did you mean 'L3-Bi-Alt'"):
        find_run(runs, "L3-Bo-Alt")
    shutil.copytree(study / BI, runs / "again" / BI)
    with pytest.raises(UserError, match=f"2 runs have that name; give one of again/{BI}, pilot/{BI}"):
        find_run(runs, "L3-Bi-Alt")


def test_a_mistaken_task_is_answered_with_those_there_are(study, capsys):
    keep(study / BI, ENGLISH, *topics(30))
    with pytest.raises(SystemExit) as ended:
        cpt(["--runs", str(study.parent), "items", BI, "--task", "sib20", "--language", "eng_Latn"])
    assert ended.value.code == 2
    assert "--task sib20: not evaluated; known: sib200; did you mean 'sib200'?" in capsys.readouterr().err


def test_prompts_and_answers_are_shown_to_people(study, capsys):
    keep(study / BI, ZULU, *topics(30))
    keep(study / BI, TO_ZULU, *translations(["ihhotela\x1b[31m [bold]", "uku"], tokens=9))
    for task in ("flores200", "sib200"):
        with pytest.raises(SystemExit):
            cpt(["--runs", str(study.parent), "items", BI, "--task", task, "--language", "zul_Latn", "--n", "1"])
    lines = [line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines()]
    assert ["source", "the hotel 0"] in lines
    assert ["reference", "ihhotela 0"] in lines
    assert ["output", "ihhotela\N{REPLACEMENT CHARACTER}[31m [bold]"] in lines
    assert ["label", "travel"] in lines
    assert ["answer", "travel (1.00 nats), science/technology (0.00 nats), politics (0.00 nats)"] in lines
    assert [f"{BI}:", "sib200 zul_Latn sound, 1 of 40 items"] in lines
    assert ["item", "1"] not in lines


def finish(folder, key):
    """Mark a run as evaluated: its rows say which run it is."""
    base = folder.name == BASE
    told = {"model": "l3", "data": folder.name.split("-")[1].lower(), "code": False, "langcat": "alt"}
    told |= {"seed": None if base else 1, "language": "eng_Latn", "role": "english", "task": "bpb", "n": 30}
    scores = {"direction": "", "protocol": "", "metric": "bits_per_byte", "value": 1, "ci_low": 1, "ci_high": 1}
    made = Row(run=folder.name.rpartition("-")[0], run_id=folder.name, **told, **scores)
    (folder / "results.jsonl").write_text(json.dumps(made.record()) + "\n")
    (folder / "evaluate.done").write_text(json.dumps({"key": key}))
    (folder / "status.json").write_text("{}")


@pytest.fixture
def evaluated(study):
    for run_id, factor in ((BASE, 1.0), (MONO, 1.02), (BI, 1.0)):
        for unit in (BITS, CODE):
            keep(study / run_id, unit, *texts(factor if unit is BITS else 1 / factor))
        keep(study / run_id, ENGLISH, *topics({BASE: 20, MONO: 30, BI: 20}[run_id]))
        keep(study / run_id, ZULU, *topics(20))
        finish(study / run_id, run_id)
    return study


def write_forgetting(study):
    return FORGETTING.write(study, current_forgetting(study, read_table(study), FORGETTING.read(study)))


def forgotten(study):
    with (study / "forgetting.csv").open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def test_forgetting_is_english_and_code_of_every_run_against_its_base(evaluated):
    assert write_forgetting(evaluated) == evaluated / "forgetting.csv"
    lines = forgotten(evaluated)
    assert {(line["run_id"], line["base_id"]) for line in lines} == {(MONO, BASE), (BI, BASE)}
    mono = {(line["role"], line["task"]): line for line in lines if line["run_id"] == MONO}
    assert {key: line["verdict"] for key, line in mono.items()} == {
        ("english", "bpb"): "worse",
        ("english", "sib200"): "better",
        ("code", "bpb"): "better",
    }
    bits = mono["english", "bpb"]
    assert float(bits["difference"]) == pytest.approx(0.02 * float(bits["base"]))
    assert float(bits["ci_low"]) > 0
    assert bits["n"] == "30"
    assert {line["verdict"] for line in lines if line["run_id"] == BI} == {"unclear"}


def test_forgetting_that_is_known_is_not_computed_again(evaluated):
    path = write_forgetting(evaluated)
    before = path.read_bytes()
    for folder in evaluated.glob("*/items"):
        folder.rename(folder.with_name("elsewhere"))
    assert write_forgetting(evaluated) == path
    assert path.read_bytes() == before
    finish(evaluated / MONO, "evaluated anew")
    write_forgetting(evaluated)
    assert {line["run_id"] for line in forgotten(evaluated)} == {BI}
    finish(evaluated / BASE, "evaluated anew")
    assert write_forgetting(evaluated) is None
    assert not path.exists()


def test_a_study_opens_in_python_with_its_forgetting(evaluated):
    study = load_study(evaluated)
    assert set(study.forgetting["run_id"]) == {MONO, BI}
    assert not (evaluated / "forgetting.csv").exists(), "opening writes nothing"
