"""report.html: one file without a network, with what the run left, and a named reason for what it did not."""

import base64
import json
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest
from exported import make_bounds

from acer_robot.errors import InputError
from acer_robot.metrics import METRICS
from acer_robot.reporting.charts import steps_label
from acer_robot.reporting.report import write_report
from acer_robot.reporting.run_logger import RunLogger
from acer_robot.run_folder.layout import write_environment
from acer_robot.run_folder.tables import read_table
from acer_robot.schema import WandbConfig
from acer_robot.spec import ObservationField, TaskSpec

NAN = float("nan")
VIDEO = bytes(range(256)) * 20


class Page(HTMLParser):
    """Collects tags, text, and checks that tags are closed in order."""

    VOID = ("meta", "img", "br", "link")

    def __init__(self, html):
        super().__init__()
        self.html, self.open, self.tags, self.text = html, [], [], ""
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]

    def charts(self):
        """Return {alt text: SVG root}."""
        prefix = "data:image/svg+xml;base64,"
        return {
            image["alt"]: ElementTree.fromstring(base64.b64decode(image["src"].removeprefix(prefix)))
            for image in self.all("img")
        }


def make_run_folder(folder):
    folder.mkdir()
    (folder / "config.yaml").write_text("seed: 3\nlearner:\n  gamma: 0.97\nnote: <script>alert(1)</script>\n")
    with RunLogger(folder, WandbConfig(mode="disabled"), {}, 100) as log:
        for step in (1000, 2000, 3000):
            metrics = {"rollout/ep_return": NAN if step == 1000 else step / 10, "acer/std": 0.4, "odd": NAN}
            log.log_metrics(step, {**metrics, "time/sps": 123.4})
        for step, online in ((1500, 10.0), (3000, 20.0)):
            row = {"seconds": step / 10, "eval/return_mean": step + 0.25, "eval/return_std": 5.0}
            log.log_evaluation(step, {**row, "eval/return_online": online})
    write_environment(folder)
    return folder


def add_export(folder):
    fields = (ObservationField("torso height", 0, 1, "m"), ObservationField("joint speeds", 1, 5, "rad/s"))
    spec = TaskSpec("gymnasium/Robot-v1", fields, make_bounds(), 0.025, 5, 1, 1000, (("mujoco", "3.17.0"),))
    (folder / "export").mkdir()
    (folder / "export/policy.json").write_text(json.dumps({"task": spec.to_dict()}))
    score = {
        "return_mean": 3210.5,
        "return_std": 12.5,
        "returns": [3198.0, 3223.0],
        "episodes": 2,
        "seed": 77,
    }
    (folder / "export/evaluation.json").write_text(json.dumps(score))
    (folder / "videos").mkdir()
    (folder / "videos/policy.mp4").write_bytes(VIDEO)


def report(folder, **options):
    return Page(write_report(folder, **options).read_text(encoding="utf-8"))


@pytest.fixture
def run(tmp_path):
    return make_run_folder(tmp_path / "run 1")


@pytest.fixture
def page(run):
    add_export(run)
    return report(run)


def test_it_needs_no_network_and_runs_no_script(page):
    for tag, attributes in page.tags:
        assert tag not in ("script", "link", "iframe")
        for name in ("src", "href"):
            assert attributes.get(name, "data:").startswith("data:")
    style = re.search("<style>(.*?)</style>", page.html, re.DOTALL)[1]
    assert "url(" not in style
    assert "@import" not in style


def test_the_head_says_what_was_reached(page):
    assert "gymnasium/Robot-v1, 3,000 environment steps" in page.text
    assert "3,210 ± 12.5" in page.text
    assert "5 min 00 s" in page.text
    assert "123environment steps per second" in page.text


def test_learning_curve_shows_all_returns(page):
    curve = "".join(page.charts()["Return over environment steps"].itertext())
    for label in ("exported policy", "current policy", "training episodes", "environment steps"):
        assert label in curve


def test_the_curves_go_through_their_points(page):
    (svg,) = (svg for name, svg in page.charts().items() if name.startswith("Return"))
    for name, points in ("rollout/ep_return", 2), ("eval/return_online", 2), ("eval/return_mean", 2):
        (group,) = (element for element in svg.iter() if element.get("id") == name)
        numbers = [float(number) for number in re.findall(r"-?[0-9.]+", group[0].get("d"))]
        assert len(numbers) == 2 * points, name
        assert numbers[2] > numbers[0]
        assert numbers[3] < numbers[1]  # the returns rise, and SVG counts from the top


def test_every_metric_has_a_chart_with_its_formula(page):
    assert list(page.charts()) == [
        "Return over environment steps",
        "rollout/ep_return",
        "acer/std",
        "time/sps",
    ]
    assert METRICS["acer/std"].formula in page.text
    assert "mean return of the last 20 training episodes" in page.text


def test_every_evaluation_is_a_row(page):
    for row in ("1,500", "2 min 30 s", "1,500.2", "10.0"), ("3,000", "5 min 00 s", "3,000.2", "20.0"):
        for cell in row:
            assert f"<td>{cell}</td>" in page.html
    assert "Mean 3,210.5, standard deviation 12.5 over 2 deterministic episodes" in page.text
    assert "seed 77" in page.text
    assert "<td>3,198.0</td>" in page.html


def test_the_contract_has_every_joint_and_field(page):
    assert "One command every 0.025 s (40 Hz)" in page.text
    assert "<tr><td>joint1</td><td>-0.25</td><td>2</td></tr>" in page.html
    assert "<tr><td>joint speeds</td><td>1:5</td><td>rad/s</td></tr>" in page.html


def test_the_video_is_inside(page):
    (video,) = page.all("video")
    assert base64.b64decode(video["src"].removeprefix("data:video/mp4;base64,")) == VIDEO


def test_settings_and_versions_are_shown_and_escaped(page):
    assert "gamma: 0.97" in page.text
    assert "<script>alert(1)</script>" in page.text
    assert "mujoco: " in page.text


def test_what_is_missing_is_named(run):
    (run / "environment.txt").unlink()
    page = report(run, no_video="egl: no such library")
    assert "No video: egl: no such library." in page.text
    assert page.all("video") == []
    assert "acer-export run=DIR" in page.text
    assert "No policy has been exported yet." in page.text
    assert "environment.txt is missing" in page.text
    assert "3,000return of the exported policy, last evaluation" in page.text


def test_a_run_that_ended_at_once_has_a_report(tmp_path):
    (tmp_path / "config.yaml").write_text("seed: 0\n")
    (tmp_path / "metrics.csv").touch()
    page = report(tmp_path)
    assert "ended before its first evaluation" in page.text
    assert page.charts() == {}


def test_half_a_row_at_the_end_is_left_out(tmp_path):
    (tmp_path / "metrics.csv").write_text("step,a,b\n1,2,\n3,4,5\n6,7")
    table = read_table(tmp_path / "metrics.csv")
    assert table["step"] == [1.0, 3.0]
    assert table["b"][1] == 5.0
    assert table["b"][0] != table["b"][0]  # NaN


def test_another_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"is not a run folder: it has no config\.yaml"):
        write_report(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_report_does_not_depend_on_the_hour(run):
    first = write_report(run).read_bytes()
    assert write_report(run).read_bytes() == first


@pytest.mark.parametrize(("steps", "label"), [(0, "0"), (500, "500"), (25_000, "25k"), (1_500_000, "1.5M")])
def test_steps_are_shortened(steps, label):
    assert steps_label(steps) == label
