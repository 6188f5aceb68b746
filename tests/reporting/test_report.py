"""report.html: one file without a network, with what the run left, and a named reason for what it did not."""

import base64
import errno
import itertools
import json
import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import imageio.v2 as imageio
import numpy as np
import pytest
from exported import make_bounds

from acer_robot.commands import report as command
from acer_robot.errors import InputError
from acer_robot.metrics import METRICS
from acer_robot.reporting.charts import steps_label
from acer_robot.reporting.report import write_report
from acer_robot.reporting.run_logger import RunLogger
from acer_robot.run_folder.layout import write_environment
from acer_robot.run_folder.recording import Recording, save_recording
from acer_robot.run_folder.tables import read_table
from acer_robot.schema import WandbConfig
from acer_robot.shell import typed
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
        """Return {what a screen reader says: SVG root}; of a chart for desktop and phone, the latter."""
        charts = (ElementTree.fromstring(text) for text in re.findall("<svg.*?</svg>", self.html, re.DOTALL))
        return {chart.get("aria-label"): chart for chart in charts}


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


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    run = make_run_folder(tmp_path_factory.mktemp("report") / "run 1")
    add_export(run)
    return report(run)


def test_it_needs_no_network_and_runs_no_script(page):
    for tag, attributes in page.tags:
        assert tag not in ("script", "link", "iframe")
        for name in ("src", "href", "poster", "data", "action"):
            assert attributes.get(name, "data:").startswith(("data:", "#"))
    assert "://" not in re.sub('"data:[^"]*"', "", page.html)
    style = re.search("<style>(.*?)</style>", page.html, re.DOTALL)[1]
    assert "url(" not in style
    assert "@import" not in style


def test_the_head_says_what_was_reached(page):
    assert "gymnasium/Robot-v1, 3,000 environment steps" in page.text
    assert "3,210 ± 12.5" in page.text
    assert "5 min 00 s" in page.text
    assert "123environment steps a second" in page.text


def test_learning_curve_shows_all_returns(page):
    (curve,) = ("".join(svg.itertext()) for name, svg in page.charts().items() if name.startswith("Return"))
    for label in ("exported policy", "current policy", "training episodes", "environment steps"):
        assert label in curve


def test_the_curves_go_through_their_points(page):
    (svg,) = (svg for name, svg in page.charts().items() if name.startswith("Return"))
    for name, points in ("rollout/ep_return", 2), ("eval/return_online", 2), ("eval/return_mean", 2):
        (group,) = (element for element in svg.iter() if element.get("id", "").endswith(name))
        numbers = [float(number) for number in re.findall(r"-?[0-9.]+", group[0].get("d"))]
        assert len(numbers) == 2 * points, name
        assert numbers[2] > numbers[0]
        assert numbers[3] < numbers[1]  # the returns rise, and SVG counts from the top


def test_every_metric_has_a_chart_with_its_formula(page):
    assert list(page.charts()) == [
        "Return over environment steps: the exported policy goes from 1,500 to 3,000",
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
    assert f"acer-export {typed('run', run)}" in page.text
    assert "DIR" not in page.text
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


def test_page_can_be_read_without_eyes_and_mouse(page):
    levels = [int(tag[1]) for tag, _ in page.tags if tag in ("h1", "h2", "h3")]
    assert levels[0] == 1
    assert all(below - above <= 1 for above, below in itertools.pairwise(levels))
    assert all(cell.get("scope") == "col" for cell in page.all("th"))
    assert len(page.all("caption")) == len(page.all("table"))
    assert all(svg["role"] == "img" and svg["aria-label"] for svg in page.all("svg"))
    assert all(
        attributes["tabindex"] == "0" for attributes in page.all("div") if attributes.get("role") == "region"
    )
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(set(ids)) == len(ids)
    assert {link["href"][1:] for link in page.all("a")} <= set(ids)


def test_colours_follow_dark_mode(page):
    assert "prefers-color-scheme: dark" in page.html
    assert not re.search(r"#[0-9a-f]{6}", page.html[page.html.index("<svg") :]), (
        "a colour that dark mode cannot change"
    )


def test_labels_can_be_read_on_a_phone(page):
    (narrow,) = (svg for name, svg in page.charts().items() if name.startswith("Return"))
    width = float(narrow.get("viewBox").split()[2])
    sizes = [
        float(size)
        for size in re.findall(r"font(?:-size)?: ([0-9.]+)px", ElementTree.tostring(narrow, "unicode"))
    ]
    assert min(sizes) * 350 / width >= 9.0


def test_long_table_says_that_there_is_more(run):
    add_export(run)
    score = json.loads((run / "export/evaluation.json").read_text())
    score["returns"] = [float(i) for i in range(100)]
    (run / "export/evaluation.json").write_text(json.dumps(score))
    page = report(run)
    assert "Returns of the exported file, the first 12 of 100" in page.text
    assert "All 100 rows" in page.text
    assert "<td>99.0</td>" in page.html


def test_healthy_run_has_no_warning(page):
    assert not any("warning" in attributes.get("class", "") for _, attributes in page.tags)


def test_sick_run_is_warned_of_at_the_top(run):
    rows = "".join(
        f"{step},nan,0.4,nan,100,{3.0 if step > 26000 else 0.1}\n" for step in range(1000, 30001, 1000)
    )
    (run / "metrics.csv").write_text("step,rollout/ep_return,acer/std,odd,time/sps,acer/temperature\n" + rows)
    page = report(run)
    assert "1 number looks sick" in page.text
    assert "acer/temperature is 3 over the last tenth of the run, above 1." in page.text
    assert page.text.count(METRICS["acer/temperature"].healthy) == 2
    assert page.text.index("looks sick") < page.text.index("Learning curve")


def test_run_with_an_error_says_so(run):
    (run / "error.txt").write_text("Traceback\nNonFiniteError: loss/q is not finite\n")
    assert "The run ended with an errorNonFiniteError: loss/q is not finite" in report(run).text


def test_video_has_a_poster(run):
    add_export(run)
    frames = np.random.default_rng(0).integers(0, 255, (5, 64, 96, 3), np.uint8)
    imageio.mimwrite(run / "videos/policy.mp4", frames, fps=5)
    (video,) = report(run).all("video")
    picture = imageio.imread(base64.b64decode(video["poster"].removeprefix("data:image/jpeg;base64,")))
    assert picture.shape == (64, 96, 3)


def test_broken_video_is_named(page):
    assert "ffmpeg finds no picture in" in page.text


def test_large_video_stays_beside_the_report(run, monkeypatch):
    add_export(run)
    monkeypatch.setattr("acer_robot.reporting.report.LARGEST_VIDEO", 100)
    page = report(run)
    assert page.all("video")[0]["src"] == "videos/policy.mp4"
    assert "too large to be inside" in page.text


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("config.yaml", "- 1"),
        ("config.yaml", "learner: 3"),
        ("config.yaml", "a: [1"),
        ("eval.csv", "step,seconds\n1,2\n"),
        ("export/policy.json", "[]"),
        ("export/episodes.npz", "no archive"),
        ("export/policy.json", None),
    ],
)
def test_damaged_file_is_refused(run, name, content):
    add_export(run)
    if content is None:
        policy = json.loads((run / name).read_text())
        content = json.dumps({**policy, "normalizer": {"enabled": True, "mean": [0.0], "std": [1.0]}})
        rows = np.zeros((4, 5), np.float32)
        save_recording(
            Recording(rows, rows[:, : make_bounds().size], rows[:, 0], np.array([4]), np.array([True])),
            run / "export/episodes.npz",
        )
    (run / name).write_text(content)
    with pytest.raises(InputError, match=f"{name} is damaged: "):
        write_report(run)
    assert not (run / "report.html").exists()


def test_report_that_cannot_be_written_is_refused(run):
    with pytest.raises(InputError, match="is a file, or lies below one"):
        write_report(run, out=run / "config.yaml/report.html")
    with pytest.raises(InputError, match="is a folder; give the name of a file"):
        write_report(run, out=run)
    for name in ("config.yaml", "eval.csv", "new"):
        with pytest.raises(InputError, match=r"is no page; give a name that ends in \.html"):
            write_report(run, out=run / name)


def test_full_disk_costs_no_report_that_was_there(run, monkeypatch):
    page = write_report(run)
    before = page.read_bytes()

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("acer_robot.run_folder.whole_file.os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_report(run)
    assert page.read_bytes() == before
    assert [path.name for path in run.glob("report.html*")] == ["report.html"]


def test_folder_of_the_report_is_created(run, tmp_path):
    assert write_report(run, out=tmp_path / "new/page.html").is_file()


def test_export_folder_means_its_run(run, monkeypatch, capsys):
    add_export(run)
    monkeypatch.chdir(run)
    for folder in (run / "export", Path("export")):
        monkeypatch.setattr(sys, "argv", ["acer-report", f'run="{folder}"'])
        command.main()
        assert Path(capsys.readouterr().out.strip()).resolve() == run / "report.html"


def test_terms_of_a_reward_have_a_hint(run):
    (run / "metrics.csv").write_text("step,reward/velocity\n1000,0.5\n2000,0.6\n")
    page = report(run)
    assert METRICS["reward/TERM"].formula in page.text
    assert "Not a number of this version" not in page.text


@pytest.mark.parametrize(("steps", "label"), [(0, "0"), (500, "500"), (25_000, "25k"), (1_500_000, "1.5M")])
def test_steps_are_shortened(steps, label):
    assert steps_label(steps) == label
