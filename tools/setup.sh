#!/usr/bin/env bash
# Makes .venv ready; does nothing when it is.
#
#   tools/setup.sh run    what `make demo` needs
#   tools/setup.sh dev    that, and training, tests and linting (the default)
#
# PYTHON=/path/to/python3.x picks the interpreter.
set -euo pipefail

profile="${1:-dev}"
root="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)"
cd "$root"
# An environment is not made of itself, wherever this is called from.
PATH=":$PATH:"
PATH="${PATH//":$root/.venv/bin:"/":"}"
PATH="${PATH#:}"
PATH="${PATH%:}"

# The sourced ROS distribution that has rclpy, if there is one. A virtual environment does not
# count: it is our own .venv, or that of another checkout whose tools/env.sh was sourced.
sourced_ros() {
    local prefix prefixes
    IFS=: read -r -a prefixes <<<"${AMENT_PREFIX_PATH-}"
    for prefix in ${prefixes[@]+"${prefixes[@]}"}; do
        if [ ! -e "$prefix/pyvenv.cfg" ] &&
            [ -e "$prefix/share/ament_index/resource_index/packages/rclpy" ]; then
            printf '%s' "$prefix"
            return
        fi
    done
}

# One hash of everything that decides what .venv must hold.
fingerprint() {
    {
        printf '%s\n' "$root" "$ros" "${PYTHON-}"
        cat requirements/*.txt tools/setup.sh tools/setup_venv.py
        find interfaces -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum
        # The interpreter that .venv was made of, and its version.
        cat .venv/pyvenv.cfg 2>/dev/null || true
    } | sha256sum | cut -d ' ' -f 1
}

usable() { # usable PYTHON: at least the version that is needed, and it starts.
    "$1" -c "import sys; sys.exit(not ($minimum <= sys.version_info[:2] <= (3, 14)))" 2>/dev/null
}

find_python() {
    local candidate
    if [ -n "$ros" ]; then
        minimum="(3, 10)"
        for candidate in ${PYTHON:+"$PYTHON"} python3 /usr/bin/python3; do
            if usable "$candidate" && "$candidate" -c 'import rclpy' 2>/dev/null; then
                command -v "$candidate"
                return
            fi
        done
        echo "set-up: ROS is sourced from $ros, but no python3 here imports its rclpy." >&2
        echo "  Source its setup.bash again in a new shell, or set PYTHON=/path/to/its/python3." >&2
        return 1
    fi
    minimum="(3, 11)"
    # 3.11 first: the pins are tested with it.
    for candidate in ${PYTHON:+"$PYTHON"} python3.11 python3.12 python3.13 python3.14 python3; do
        if command -v "$candidate" >/dev/null && usable "$candidate"; then
            command -v "$candidate"
            return
        fi
    done
    local version=3.11
    for candidate in 3.11 3.12 3.13 3.14; do
        if apt-cache show "python$candidate" >/dev/null 2>&1; then
            version="$candidate"
            break
        fi
    done
    echo "set-up: Python 3.11 to 3.14 is needed and was not found. Install it with" >&2
    echo "  sudo apt-get update && sudo apt-get install -y" \
        "python$version python$version-venv python$version-dev" >&2
    return 1
}

case "$profile" in
    run | dev) ;;
    *)
        echo "set-up: unknown profile '$profile'; known: run, dev" >&2
        exit 2
        ;;
esac

ros="$(sourced_ros)"
# What is ready for development is ready to run.
now="$(fingerprint)"
for ready in "$profile" dev; do
    if [ "$(cat ".venv/.ready-$ready" 2>/dev/null)" = "$now" ]; then
        exit 0
    fi
done

python="$(find_python)"
"$python" tools/setup_venv.py "$profile" --ros "$ros"
fingerprint >".venv/.ready-$profile.part"
mv ".venv/.ready-$profile.part" ".venv/.ready-$profile"
