"""Some incidents of `make drill`, and what its judge sees."""

import dataclasses

import pytest
from drill import Drill, verdicts
from incidents.drill_check import judge
from incidents.drill_incidents import Incident, incidents

from acer_robot.deployment.limits import limits_of_file

SOME = (
    "free: nothing goes wrong",
    "free: SIGINT in running",
    "free: SIGQUIT in ramp_in",
    "free: killed in running",
    "free: full disk in running",
    "limited: broken bus in holding",
    "limited: lost for ever in running",
    "limited: nan for 5 in ramp_in",
    "limited: late for 12 in running by 0.07 s",
    "limited: jump for 10 in running by 1000, far_ticks 5",
    "limited: SIGTERM, then SIGINT",
)


@pytest.fixture(scope="module")
def drill(tmp_path_factory):
    return Drill(tmp_path_factory.mktemp("drill"), with_cpp=False)


def test_there_are_200_incidents_with_names_of_their_own():
    assert len({incident.name for incident in incidents()}) == 200
    assert set(SOME) <= {incident.name for incident in incidents()}


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("name", SOME)
def test_incident(drill, name):
    (incident,) = (incident for incident in incidents() if incident.name == name)
    (verdict,) = drill.run(incident).values()
    assert verdict.wrong == []
    assert verdict.outside == 0.0


HEAD = "time,step,state,cause,late,age,o,policy:hip,command:hip\n"


@pytest.mark.parametrize(
    ("rows", "wrong"),
    [
        (
            "ramp_in,none,0.02;running,none,0.5;ramp_out,stop,0.48;ramp_out,stop,0.46",
            "the last row says ramp_out",
        ),
        ("ramp_in,none,0.5;stopped,stop,0.5", "outside the limits"),  # the first command jumps
        ("ramp_in,none,0.01;stopped,stop,0.01", "it stopped at [0.01], not at rest"),
        (
            "ramp_in,none,0.01;ramp_out,stop,0.01;ramp_out,stop,0.01;stopped,stop,0.0",
            "it took 3 ticks to stop, not 2",
        ),
        ("ramp_in,none,0.01;holding,none,0.015;stopped,stop,0.0", "outside the limits"),
        ("ramp_in,none,0.01;stopped,age,0.0", "the last row says stopped"),
    ],
)
def test_the_judge_sees_what_is_wrong(drill, tmp_path, rows, wrong):
    policy = drill._policies["free"]
    bounds = dataclasses.replace(policy.spec.bounds, names=("hip",), low=(-1.0,), high=(1.0,))
    spec = dataclasses.replace(policy.spec, bounds=bounds)
    limits = limits_of_file(spec, {**policy.metadata, "rest": [0.0]})
    log = tmp_path / "log.csv"
    lines = [
        f"0,1,{state},{cause},0,0,0,0,{command}"
        for state, cause, command in (r.split(",") for r in rows.split(";"))
    ]
    log.write_text("# stopped by: stop".ljust(120) + "\n" + HEAD + "\n".join(lines) + "\n")
    verdict = judge(Incident("x", "free", (), "stop", 0), limits, log, 0)
    assert any(wrong in found for found in verdict.wrong), verdict


@pytest.mark.slow
def test_incidents_run_in_several_processes_in_their_order():
    chosen = [incident for incident in incidents() if incident.name in SOME[:3]]
    found = list(verdicts(chosen, with_cpp=False, jobs=2))
    assert [incident for incident, _ in found] == chosen
    assert all(verdict.wrong == [] for _, each in found for verdict in each.values())
