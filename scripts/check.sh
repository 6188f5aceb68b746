#!/usr/bin/env bash
# Everything but the tests: style, then wheel and sdist in fresh environments outside the checkout, types and doctests there.
set -euo pipefail
cd "$(dirname "$0")/.."
checkout=$PWD
py=$checkout/.venv/bin/python

step() { echo "check: $*"; }

step "ruff"
"$py" -m ruff check .
"$py" -m ruff format --check .

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

step "build sdist, and the wheel from the sdist"
"$py" -m build --outdir "$work/dist" . > "$work/build.log" 2>&1 || { cat "$work/build.log"; exit 1; }
"$py" scripts/check_dist.py "$work"/dist/*.whl "$work"/dist/*.tar.gz

step "install the wheel in a fresh environment"
"$py" -m venv "$work/venv"
fresh=$work/venv/bin
pip=("$fresh/python" -m pip --disable-pip-version-check install --quiet --constraint "$checkout/constraints.txt")
"${pip[@]}" "$(grep '^torch==' "$checkout/constraints.txt")"
"${pip[@]}" "$work"/dist/*.whl types-tqdm types-PyYAML pytest
cd "$work"

step "the commands of the installed wheel"
for command in train eval export deploy render report runs doctor; do
    "$fresh/acer-$command" --help > /dev/null
done
"$fresh/python" - <<'PY'
from acer_robot.schema import TaskConfig
from acer_robot.tasks import make_task

task = make_task(TaskConfig(suite="gymnasium", id="HalfCheetah-v5"), 2, 0)
assert task.reset().shape == (2, 17)
PY

step "mypy --strict on the installed wheel"
"$py" -m mypy --strict --config-file "$checkout/pyproject.toml" --cache-dir "$work/mypy" \
    --python-executable "$fresh/python" -p acer_robot

step "doctests"
status=0
"$fresh/python" -m pytest -q -c /dev/null --rootdir "$work" -p no:cacheprovider --doctest-modules --pyargs acer_robot || status=$?
[[ $status == 0 || $status == 5 ]]  # 5: there are no doctests

step "all good"
