#!/usr/bin/env bash
# Build examples/controller in build/controller with the libtorch and libmujoco of .venv.
# usage: scripts/controller.sh [missing]      missing: only print the Debian packages that it lacks
set -euo pipefail
cd "$(dirname "$0")/.."

packages=()
command -v cmake > /dev/null || packages+=(cmake)
command -v make > /dev/null || packages+=(make)
command -v c++ > /dev/null || packages+=(g++)
if command -v dpkg > /dev/null; then  # elsewhere CMake says what it does not find
    [[ -f /usr/include/nlohmann/json.hpp ]] || packages+=(nlohmann-json3-dev)
    [[ -f /usr/include/openssl/sha.h ]] || packages+=(libssl-dev)
fi

if [[ ${1:-} == missing ]]; then
    echo "${packages[*]}"
    exit
fi
if ((${#packages[@]})); then
    echo "controller: needs ${packages[*]}; on Debian or Ubuntu: sudo apt-get install -y ${packages[*]}" >&2
    exit 1
fi

log=build/controller.log
mkdir -p build
exec 9> build/controller.lock
flock 9  # tests may run in several processes
if ! { cmake -S examples/controller -B build/controller -DPYTHON="$PWD/.venv/bin/python" \
    && cmake --build build/controller --parallel; } > "$log" 2>&1; then
    cat "$log" >&2
    exit 1
fi
echo "controller: built build/controller/controller"
