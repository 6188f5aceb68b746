#!/usr/bin/env bash
# Build examples/controller in build/controller with the libtorch and libmujoco of .venv.
# usage: scripts/controller.sh [missing | sanitized]
#   missing: only print the Debian packages that it lacks
#   sanitized: build it and its tests in build/controller-sanitized, with the sanitizers for addresses and undefined behaviour
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

build=build/controller options=()
if [[ ${1:-} == sanitized ]]; then
    build=build/controller-sanitized options=(-DACER_SANITIZE=ON)
fi
log=$build.log
mkdir -p build
exec 9> "$build.lock"
flock 9  # tests may run in several processes
if ! { cmake -S examples/controller -B "$build" -DPYTHON="$PWD/.venv/bin/python" "${options[@]}" \
    && cmake --build "$build" --parallel --target controller --target controller_test; } > "$log" 2>&1; then
    cat "$log" >&2
    exit 1
fi
echo "controller: built $build/controller"
