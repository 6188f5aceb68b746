"""Every way to mistype a command line ends in one clear line, exit status 2, and nothing created."""

import subprocess
import sys
from dataclasses import fields, is_dataclass

import pytest

from acer_robot import schema as schemas
from acer_robot.commands.compose import run_command
from acer_robot.commands.option_docs import did_you_mean, field_docs, group_choices, options
from acer_robot.commands.render import RenderConfig
from acer_robot.errors import InputError
from acer_robot.schema import TaskConfig, TrainConfig


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


def test_a_task_of_ones_own_comes_from_a_folder(train, tmp_path):
    (tmp_path / "mine/task").mkdir(parents=True)
    (tmp_path / "mine/task/my_robot.yaml").write_text("suite: gymnasium\nid: my_module:MyRobot-v0\n")
    (config,), _, _, _ = train("--config-dir", "mine", "task=my_robot")
    assert config.task.id == "my_module:MyRobot-v0"
    _, status, _, err = train("--config-dir", "mine", "task=my_robott")
    assert status == 2
    assert "did you mean my_robot?" in err


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
        ("task.bounds={a: [1, 2}", "cannot read 'task.bounds={a: [1, 2}': "),
        ("steps=many", "steps: Value 'many' of type 'str' could not be converted to Integer"),
        ("learner.hidden=3", "learner.hidden: "),
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


def test_an_unknown_task_lists_those_that_exist(train):
    _, _, _, err = train("task=nothing_like_it")
    assert "did you mean" not in err
    for name in ("halfcheetah", "walker2d", "dmc/walker-walk", "dmc/humanoid-run"):
        assert name in err


def test_a_missing_value_says_what_it_is(monkeypatch, capsys):
    _, status, _, err = call(monkeypatch, capsys, "render", RenderConfig)
    assert (status, err) == (2, "acer-robot: error: policy=... must be given: An exported policy.pt.\n")


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
    _, status, out, _ = call(monkeypatch, capsys, "render", RenderConfig, "--help")
    assert status == 0
    assert "policy=(must be given)" in out


@pytest.mark.parametrize("schema", [item for item in vars(schemas).values() if is_dataclass(item)])
def test_every_option_has_a_docstring(schema):
    docs = field_docs(schema)
    for field in fields(schema):
        if not is_dataclass(getattr(schemas, str(field.type), None)):
            assert len(docs[field.name]) > 10, f"{schema.__name__}.{field.name}"


def test_a_docstring_belongs_to_the_field_above_it():
    docs = field_docs(RenderConfig)
    assert docs["policy"] == "An exported policy.pt."
    assert docs["width"] == "Width in pixels."


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
    assert all(name.startswith("dmc/") for name in choices[choices.index("dmc/acrobot-swingup") :])


@pytest.mark.parametrize(
    ("module", "arguments", "message"),
    [
        ("train", ["task=gym", "task.id=CartPole-v1"], "CartPole-v1"),
        ("evaluate", ["policy=none.pt"], "none.pt does not exist"),
        ("export", ["run=none"], "none"),
        ("render", ["policy=none.pt", "out=a.gif"], "is not an mp4 file"),
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
