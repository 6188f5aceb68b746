"""Every way to mistype a command line ends in one clear line, exit status 2, and nothing created."""

import re
import shlex
import subprocess
import sys
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import get_type_hints

import pytest
import yaml
from hydra.utils import get_class, get_method

import acer_robot.configs
from acer_robot import schema as schemas
from acer_robot.commands.compose import run_command
from acer_robot.commands.deploy import DeployConfig
from acer_robot.commands.error_lines import one_line
from acer_robot.commands.export import ExportConfig
from acer_robot.commands.option_docs import did_you_mean, field_docs, group_choices, options
from acer_robot.errors import InputError, NonFiniteError, TaskError
from acer_robot.policies.exported.file import load_exported
from acer_robot.schema import TaskConfig, TrainConfig
from acer_robot.shell import typed


def call(monkeypatch, capsys, name, schema, *arguments):
    """Run a command whose body records its config; return (configs, exit status, stdout, stderr)."""
    monkeypatch.setattr(sys, "argv", [f"acer-{name}", *arguments])
    received, status = [], 0

    def body(config):
        received.append(config)

    try:
        run_command(name, schema, body)
    except SystemExit as exit_:
        status = exit_.code
    captured = capsys.readouterr()
    return received, status, captured.out, captured.err


@pytest.fixture
def train(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: call(monkeypatch, capsys, "train", TrainConfig, *arguments)


def test_the_body_receives_a_plain_typed_config(train, tmp_path):
    (config,), status, _, err = train("steps=20000", "task=walker2d", "learner.hidden=[8,9]", "learner.c=inf")
    assert (status, err) == (0, "")
    assert type(config) is TrainConfig
    assert type(config.task) is TaskConfig
    assert (config.steps, config.task.id, config.learner.hidden) == (20000, "Walker2d-v5", [8, 9])
    assert type(config.learner.hidden) is list
    assert config.learner.c == float("inf")
    assert "Walker2d-v5_seed0" in config.run_dir
    assert list(tmp_path.iterdir()) == []


def test_several_jobs_run_one_after_the_other(train):
    configs, status, _, _ = train("--multirun", "seed=0,1,2", "hydra.sweep.dir=sweep")
    assert status == 0
    assert [config.seed for config in configs] == [0, 1, 2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("seed=0,-1",), "job 1 (seed=-1): seed=-1 is out of range"),
        (("device=cpu,tpu", "run_dir=runs/${device}"), "job 1 (device=tpu run_dir="),
        (("+gama=1,2",), "job 0 (+gama=1): gama is not an option; did you mean learner.gamma?"),
        (("learner.lr=0.1,0.2",), "jobs 0 and 1 have the same run_dir=runs/"),
        (
            ("learner=acer,paper", "run_dir=x"),
            "put what differs into it, as in 'run_dir=runs/${hydra:job.num}'",
        ),
    ],
)
def test_a_sweep_is_refused_before_its_first_job(train, tmp_path, arguments, message):
    received, status, out, err = train("-m", *arguments)
    assert (received, status, out) == ([], 2, "")
    assert message in err
    assert err.startswith("acer-robot: error: job")
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_all_jobs_of_a_sweep_have_one_time(train, tmp_path):
    jobs, status, _, _ = train("-m", "seed=0,1", "run_dir=${now:%f}_${seed}", "hydra.sweep.dir=sweep")
    assert status == 0
    first, second = (job.run_dir.partition("_")[0] for job in jobs)
    assert first == second


def sweep(monkeypatch, capsys, tmp_path, body, *arguments):
    """Run a sweep over three seeds with `body`; return (exit status, stderr)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["acer-train", "-m", "seed=0,1,2", "hydra.sweep.dir=sweep", *arguments])
    with pytest.raises(SystemExit) as stopped:
        run_command("train", TrainConfig, body)
    return stopped.value.code, capsys.readouterr().err


@pytest.mark.parametrize(
    "error", [InputError("no such file"), NonFiniteError("loss is nan"), KeyError("bug")]
)
def test_a_failed_job_does_not_stop_the_others(monkeypatch, capsys, tmp_path, error):
    seen = []

    def body(config):
        seen.append(config.seed)
        if config.seed != 2:
            raise error

    # One job a batch: Hydra's sweeper looks at each before it starts the next.
    status, err = sweep(monkeypatch, capsys, tmp_path, body, "hydra.sweeper.max_batch_size=1")
    assert (status, seen) == (1, [0, 1, 2])
    summary = err.splitlines()[-3:]
    assert summary[0] == "acer-robot: error: 2 jobs failed:"
    assert summary[1].startswith("  job 0 (seed=0): ")
    assert summary[2].startswith("  job 1 (seed=1): ")
    assert str(error) in summary[2]
    assert ("Traceback" in err) == isinstance(error, KeyError)


def test_ctrl_c_stops_a_sweep(monkeypatch, capsys, tmp_path):
    seen = []

    def body(config):
        seen.append(config.seed)
        raise KeyboardInterrupt

    status, err = sweep(monkeypatch, capsys, tmp_path, body)
    assert (status, seen) == (130, [0])
    assert err.endswith("interrupted\n")


@pytest.mark.extras
def test_jobs_run_in_other_processes(tmp_path):
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    launcher = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "hydra.sweep.dir=sweep"]
    command = [sys.executable, "-m", "acer_robot", "report", "-m", "run=a,b", *launcher]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "2 jobs failed:" in done.stderr
    lines = (tmp_path / "sweep/failed_jobs.txt").read_text().splitlines()
    assert sorted(lines)[1].startswith("job 1 (run=b): b is not a run folder")


@pytest.mark.parametrize(
    "path", ["runs/a=b", "runs/lauf_ü", "runs/(1)", "runs/a,b", "runs/a b", "runs/it's", 'runs/"x"', "runs/a"]
)
def test_a_printed_path_can_be_pasted(train, path):
    (config,), _, _, _ = train(*shlex.split(typed("run_dir", path)))
    assert config.run_dir == path


@pytest.mark.parametrize("path", ["runs/a=b", "runs/lauf_ü", "runs/(1)", "runs/a,b"])
def test_a_path_that_needs_quotes_is_shown_with_them(train, path):
    _, status, _, err = train(f"run_dir={path}")
    assert status == 2
    assert f"""for a path or other text: 'run_dir="{path}"'""" in err
    assert err.count("\n") == 1


def test_home_is_written_out(train, monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    assert "for a path or other text: run_dir=/home/me/x" in train("run_dir=~/x")[3]


def test_help_begins_with_what_most_people_set(train):
    _, _, out, _ = train("--help")
    heads = [line.strip().partition("=")[0] for line in out.splitlines()[4:] if line[:3].strip()]
    assert heads[:8] == ["task", "steps", "seed", "num_envs", "device", "run_dir", "learner", "wandb.mode"]
    lines = out.splitlines()
    places = [lines.index(head) for head in ("Returns and truncations", "Networks", "Critic")]
    assert places == sorted(places)
    assert lines[places[0] + 1].startswith("  learner.gamma=")
    assert out.index("learner.compile=") < out.index("task.suite=") < out.index("wandb.project=")
    assert len(re.findall(r"^  wandb\.mode=", out, re.MULTILINE)) == 1


def test_version_is_that_of_the_package(train):
    received, status, out, _ = train("--version")
    assert (received, status) == ([], 0)
    assert out.startswith(f"acer-train {acer_robot.__version__} (torch ")


def test_help_works_without_docstrings(tmp_path):
    command = [sys.executable, "-OO", "-m", "acer_robot.commands.report", "--help"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("acer-report: everything worth knowing about a run")
    assert "A run folder or its export/. Its report.html is overwritten." in done.stdout


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("suite: gymnasium\nid:\tPendulum-v1\n", "line 2: found character"),
        ("suite: gymnasium\nid: A\nlearner: {lr: 1}\n", "begin it with the line '# @package _global_'"),
    ],
)
def test_a_mistake_in_a_tasks_file_is_one_line(train, tmp_path, text, message):
    (tmp_path / "mine/task").mkdir(parents=True)
    (tmp_path / "mine/task/my_robot.yaml").write_text(text)
    _, status, _, err = train("--config-dir", "mine", "task=my_robot")
    assert (status, err.count("\n")) == (2, 1)
    assert message in err


def test_a_tasks_file_sets_learner_options(train, tmp_path):
    (tmp_path / "mine/task").mkdir(parents=True)
    (tmp_path / "mine/task/my_robot.yaml").write_text(
        "# @package _global_\ntask:\n  suite: gymnasium\n  id: A\nlearner:\n  lr: 0.5\n"
    )
    (config,), _, _, _ = train("--config-dir", "mine", "task=my_robot")
    assert (config.task.id, config.learner.lr) == ("A", 0.5)


def test_help_of_a_sweep_is_printed_once(train, tmp_path):
    received, status, out, _ = train("-m", "seed=1,2", "--help")
    assert (received, status, out.count("acer-train:")) == ([], 0, 1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["train", "evaluate", "deploy", "export", "render", "report", "runs"])
def test_what_a_command_checks_of_a_sweep_exists(name):
    folder = Path(acer_robot.configs.__path__[0])
    options = yaml.safe_load((folder / f"{name}.yaml").read_text())["hydra"]["callbacks"]["sweep"]
    schema = get_class(options["schema"])
    if "validate" in options:
        get_method(options["validate"])
    if "separate" in options:
        assert options["separate"] in get_type_hints(schema)


def test_a_task_of_ones_own_comes_from_a_folder(train, tmp_path):
    (tmp_path / "mine/task").mkdir(parents=True)
    (tmp_path / "mine/task/my_robot.yaml").write_text("suite: gymnasium\nid: my_module:MyRobot-v0\n")
    (config,), _, _, _ = train("--config-dir", "mine", "task=my_robot")
    assert config.task.id == "my_module:MyRobot-v0"
    _, status, _, err = train("--config-dir", "mine", "task=my_robott")
    assert status == 2
    assert "did you mean my_robot or robot?" in err


def test_a_file_of_ones_own_needs_a_name_of_its_own(train, tmp_path):
    (tmp_path / "mine/task/dmc").mkdir(parents=True)
    (tmp_path / "mine/task/dmc/walker-walk.yaml").write_text("suite: dm_control\nid: walker-walk\n")
    _, status, _, err = train("--config-dir", "mine", "task=dmc/walker-walk")
    assert status == 2
    assert "task/dmc/walker-walk.yaml has the name of a task that exists already; give your file" in err
    assert err.count("\n") == 1


def test_an_experiment_of_ones_own_names_a_task_of_the_suite(train, tmp_path):
    (tmp_path / "mine/experiment").mkdir(parents=True)
    (tmp_path / "mine/experiment/walk.yaml").write_text(
        "# @package _global_\ndefaults:\n  - override /task: dmc/walker-walk\nsteps: 7\n"
    )
    (config,), _, _, _ = train("--config-dir", "mine", "experiment=walk")
    assert (config.task.id, config.steps, config.learner.critics) == ("walker-walk", 7, 1)


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        (
            "task.bounds={колено: [1, 2]}",
            "a character cannot stand there; put a name with special characters in ",
        ),
        (
            "task.bounds={left: knee: [1, 2]}",
            "in double quotes, as in 'task.bounds={\"left:knee\": [-1, 1]}'",
        ),
        ("task.bounds={1: [1, 2]}", "put the name in double quotes, as in 'task.bounds={\"1\": [-1, 1]}'"),
        ('task.bounds={"left: [1, 2]}', "found unexpected end of stream"),
        ("run_dir=肘", "for a path or other text: 'run_dir=\"肘\"'"),
    ],
)
def test_quotes_that_are_missing_are_shown(train, argument, message):
    received, status, _, err = train(argument)
    assert (received, status) == ([], 2)
    assert message in err
    assert err.count("\n") == 1


def test_joint_names_in_quotes(train):
    received, status, _, _ = train(
        'task.bounds={"left:knee": [-1, 1], hip: [0, 2]}',
        'task.slew_rate={"1": 3}',
        "task.bounds.foot=[0, 1]",
    )
    assert status == 0
    assert received[0].task.bounds == {"foot": [0, 1], "left:knee": [-1, 1], "hip": [0, 2]}
    assert received[0].task.slew_rate == {"1": 3.0}


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("learner.gama=0.9", "learner.gama is not an option; did you mean learner.gamma?"),
        ("gamma=0.9", "gamma is not an option; did you mean learner.gamma?"),
        ("+learner.gama=0.9", "learner.gama is not an option; did you mean learner.gamma?"),
        ("lerner.gamma=0.9", "lerner is not an option; did you mean learner?"),
        (
            "learner.xyz=1",
            "learner.xyz is not an option; there are learner.estimator, learner.gamma, learner.c, ",
        ),
        ("xyz=1", "xyz is not an option; there are steps, seed, device, run_dir, "),
        ("+xyz=1", "xyz is not an option; there are steps, seed, device, run_dir, "),
        ("--steps=100", "--steps=100: options are written without dashes: steps=100"),
        ("--num-envs", "--num-envs: options are written without dashes: num_envs=VALUE"),
        ("steps", "cannot read 'steps': "),
        ("-x", "-x is not an option; options are written name=value, and --help lists them"),
        ("--fast", "--fast is not an option; options are written name=value, and --help lists them"),
        ("hopper", "'hopper' has no option's name before it; write task=hopper"),
        ("task.bounds={a: [1, 2}", "cannot read 'task.bounds={a: [1, 2}': "),
        ("wandb.tags=[a b (1), c]", "cannot read 'wandb.tags=[a b (1), c]': "),
        ("steps=many", "steps=many is not a whole number; give a whole number"),
        ("steps=1e5", "steps=100000.0 is not a whole number; write steps=100000"),
        ("steps=1.2.3", "steps=1.2.3 is not a whole number; give a whole number"),
        ("steps=1e9999", "steps=inf is not a whole number; give a whole number"),
        ("wandb=offline", "wandb is a group of options; set one of them, as in wandb.mode=offline"),
        ("video=maybe", "video=maybe is neither true nor false; give one of them"),
        ("video=7", "video=7 is neither true nor false; give one of them"),
        ("wandb.histograms=-0.5", "wandb.histograms=-0.5 is neither true nor false; give one of them"),
        ("learner.lr=fast", "learner.lr=fast is not a number; give a number"),
        (
            "learner.hidden=5",
            "learner.hidden takes a list: write it in brackets, as in 'learner.hidden=[..]'",
        ),
        (
            "task.bounds=3",
            "task.bounds takes names with values: write them in braces, as in 'task.bounds={name: value}'",
        ),
        ("learner.lr=null", "learner.lr: null is not allowed here"),
        ("task=walker3d", "task=walker3d does not exist; did you mean walker2d"),
        ("task=dmc/walker-wlk", "task=dmc/walker-wlk does not exist; did you mean dmc/walker-walk"),
        ("learner=sarsa", "learner=sarsa does not exist; "),
        ("task=gym", "task.id=... must be given: A registered Gymnasium id"),
    ],
)
def test_a_mistake_is_one_clear_line(train, tmp_path, argument, message):
    received, status, out, err = train(argument)
    assert (received, status, out) == ([], 2, "")
    assert err.startswith("acer-robot: error: " + message)
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("value", "expected"), [("1", True), ("0", False), ("true", True), ("No", False)])
def test_zero_and_one_are_false_and_true(train, value, expected):
    ((config,), status, _, _) = train("task=hopper", f"video={value}")
    assert (status, config.video) == (0, expected)


def test_an_unknown_task_lists_those_that_exist(train):
    _, _, _, err = train("task=nothing_like_it")
    assert "did you mean" not in err
    for name in ("halfcheetah", "walker2d", "dmc/walker-walk", "dmc/humanoid-run"):
        assert name in err


def test_a_missing_value_says_what_it_is(monkeypatch, capsys):
    _, status, _, err = call(monkeypatch, capsys, "export", ExportConfig)
    expected = "run=... must be given: A run folder. The exported policy of its checkpoint is written."
    assert (status, err) == (2, f"acer-robot: error: {expected}\n")


def test_an_input_error_of_the_body_is_one_line(monkeypatch, capsys):
    def body(config):
        raise InputError("seed=-1 is out of range;\n  expected 0")

    monkeypatch.setattr(sys, "argv", ["acer-train"])
    with pytest.raises(SystemExit) as stopped:
        run_command("train", TrainConfig, body)
    assert stopped.value.code == 2
    assert capsys.readouterr().err == "acer-robot: error: seed=-1 is out of range; expected 0\n"


def test_a_bug_is_not_hidden(monkeypatch):
    def body(config):
        raise ZeroDivisionError

    monkeypatch.setattr(sys, "argv", ["acer-train"])
    with pytest.raises(ZeroDivisionError):
        run_command("train", TrainConfig, body)


@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_shows_every_option_with_its_value_and_meaning(train, flag):
    received, status, out, err = train(flag, "task=walker2d", "learner.delta=0.5")
    assert (received, status, err) == ([], 0, "")
    text = " ".join(out.split())
    for option in options(TrainConfig):
        assert f" {option.name}=" in text
        assert " ".join(option.doc.split()) in text
    for shown in ("learner.delta=0.5", "task.id=Walker2d-v5", "learner.deployed_alpha=0.9998", "video=true"):
        assert shown in text
    for symbol in ("gamma", "[1 - c/rho']_+", "KL[average || current]", "eq. 12", "theta_avg"):
        assert symbol in text
    for name in group_choices("task"):
        assert name in out  # not broken at its hyphen
    assert max(map(len, out.splitlines())) <= 100


def test_help_does_not_ask_for_missing_values(monkeypatch, capsys):
    _, status, out, _ = call(monkeypatch, capsys, "export", ExportConfig, "--help")
    assert status == 0
    assert "run=(must be given)" in out


@pytest.mark.parametrize("schema", [item for item in vars(schemas).values() if is_dataclass(item)])
def test_every_option_has_a_docstring(schema):
    docs = field_docs(schema)
    for field in fields(schema):
        if not is_dataclass(getattr(schemas, str(field.type), None)):
            assert len(docs[field.name]) > 10, f"{schema.__name__}.{field.name}"


def test_a_docstring_belongs_to_the_field_above_it():
    docs = field_docs(DeployConfig)
    assert docs["policy"] == "An exported policy.pt, a run folder or its export/."
    assert docs["seed"] == "Seed of the first episode, and of the noise."


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("b.gamma", "did you mean a.gamma?"),
        ("GAMA", "did you mean a.gamma?"),
        ("a/lambda", "did you mean a.lambda_?"),
        ("zzz", ""),
    ],
)
def test_close_names_are_found_by_their_last_part(name, expected):
    assert did_you_mean(name, ["a.gamma", "a.lambda_", "b.c"]) == expected


def test_group_choices_are_sorted_with_suites_last():
    choices = group_choices("task")
    assert "halfcheetah" in choices
    assert choices.index("walker2d") < choices.index("dmc/acrobot-swingup")
    assert all(
        name.startswith(("dmc/", "robot/")) for name in choices[choices.index("dmc/acrobot-swingup") :]
    )


@pytest.mark.parametrize(
    ("module", "arguments", "message"),
    [
        ("train", ["task=gym", "task.id=CartPole-v1"], "CartPole-v1"),
        ("evaluate", ["policy=none.pt"], "none.pt does not exist"),
        ("export", ["run=none"], "none"),
        ("render", ["policy=none.pt", "out=a.avi"], "is neither an mp4 file nor a gif"),
        ("report", ["run=none"], "none is not a run folder"),
    ],
)
def test_real_commands_refuse_in_one_line(tmp_path, module, arguments, message):
    (tmp_path / "here").touch()
    command = [sys.executable, "-m", f"acer_robot.commands.{module}", *arguments]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["here"]


def test_a_path_without_its_option_is_named(monkeypatch, capsys):
    _, status, _, err = call(monkeypatch, capsys, "export", ExportConfig, "runs/a (1)")
    assert status == 2
    assert err == (
        "acer-robot: error: 'runs/a (1)' has no option's name before it; write 'run=\"runs/a (1)\"'\n"
    )


def test_advice_of_pytorch_is_left_out(tmp_path):
    (tmp_path / "no.pt").write_bytes(Path("/etc/passwd").read_bytes())
    with pytest.raises(InputError) as raised:
        load_exported(tmp_path / "no.pt")
    assert "failed finding central directory; copy or export it again" in str(raised.value)


def test_cause_of_our_own_error_is_not_repeated():
    error = TaskError("training stopped: the cable is torn")
    error.__cause__ = TaskError("the cable is torn")
    assert one_line(error) == "training stopped: the cable is torn"
