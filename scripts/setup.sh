#!/usr/bin/env bash
# Make .venv with acer_robot and what it needs. A second call ends at once, unless something it depends on changed.
# usage: scripts/setup.sh [test|dev|extras]      PYTHON=/path/to/python3.11 chooses the interpreter
set -euo pipefail
cd "$(dirname "$0")/.."

extra=${1:-test}
stamp=.venv/.ready-$extra
# The folder counts too: a moved checkout needs its editable install redone.
state=$({ pwd; cat pyproject.toml constraints.txt scripts/setup.sh; } | sha256sum)

version='import sys; (3, 11) <= sys.version_info < (3, 14) and print("%d.%d.%d" % sys.version_info[:3])'
if [[ -n ${PYTHON:-} && -x .venv/bin/python ]]; then
    # One that does not run, or is none of these versions, is left to find_python, which says what is expected.
    wanted=$("$PYTHON" -c "$version" 2>/dev/null) || wanted=
    present=$(.venv/bin/python -c "$version" 2>/dev/null) || present=
    if [[ -n $wanted && -n $present && $wanted != "$present" ]]; then
        echo "setup: .venv has Python $present, and PYTHON=$PYTHON is $wanted; remove it first: rm -r .venv" >&2
        exit 1
    fi
fi

stamps=("$stamp")
[[ $extra != test ]] || stamps+=(.venv/.ready-dev)  # dev includes test, and not the extras
for ready in "${stamps[@]}"; do
    if [[ -x .venv/bin/python && -f $ready && $(<"$ready") == "$state" ]]; then
        exit 0
    fi
done

find_python() {
    local candidate
    for candidate in ${PYTHON:-python3.11 python3.12 python3.13 python3}; do
        if "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    echo "setup: needs Python 3.11, 3.12 or 3.13; found neither among: ${PYTHON:-python3.11 python3.12 python3.13 python3}" >&2
    echo "setup: install one (Debian, Ubuntu: apt-get install -y python3 python3-venv), or: make setup PYTHON=/path/to/python3.11" >&2
    return 1
}

python=$(find_python)
if ! "$python" -c 'import venv, ensurepip' 2>/dev/null; then
    echo "setup: $python has no venv module; on Debian or Ubuntu: apt-get install -y python3-venv" >&2
    exit 1
fi

echo "setup: installing into .venv with $("$python" --version); this takes a few minutes once"
"$python" -m venv .venv
pip=(.venv/bin/python -m pip --disable-pip-version-check install --constraint constraints.txt)
[[ -t 1 ]] || pip+=(--quiet)  # somebody who watches sees the downloads
# torch first and by its plain version, so that a CPU wheel at hand counts as that version.
"${pip[@]}" "$(grep '^torch==' constraints.txt)"
"${pip[@]}" --editable ".[$extra]"

# Pictures are wanted, not needed: without a GL backend the script says what to type, and training goes on.
.venv/bin/python scripts/setup_gl.py

echo "$state" > "$stamp"
