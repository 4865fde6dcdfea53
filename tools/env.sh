# Source this in bash, or let .venv/bin/mm-fusion do it: the environment in which ROS, the
# interfaces built by set-up, and this package are found. Needs no activation and is idempotent.

_mm_root="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)"
_mm_venv="$_mm_root/.venv"

# _mm_prepend VARIABLE FOLDER: puts the folder in front, unless it is there already.
_mm_prepend() {
    case ":${!1-}:" in
        *":$2:"*) ;;
        *) export "$1=$2${!1:+:${!1}}" ;;
    esac
}

_mm_prepend PATH "$_mm_venv/bin"
_mm_prepend AMENT_PREFIX_PATH "$_mm_venv"
_mm_prepend LD_LIBRARY_PATH "$_mm_venv/lib"
for _mm_folder in "$_mm_venv"/lib/python3.*/site-packages; do
    if [ -e "$_mm_folder/ros_wheels_bootstrapper.pth" ]; then
        # The ROS wheels would start Python a second time to set what is set here.
        export _ROS_WHEELS_BOOTSTRAP_COMPLETE=1
        for _mm_libraries in "$_mm_folder"/ros_*.libs; do
            _mm_prepend LD_LIBRARY_PATH "$_mm_libraries"
        done
    else
        # Beside a sourced ROS: its `ros2 launch` runs the system's Python.
        _mm_prepend PYTHONPATH "$_mm_folder"
    fi
done
# Nobody else's robot on the network hears a demo or a test.
export ROS_AUTOMATIC_DISCOVERY_RANGE="${ROS_AUTOMATIC_DISCOVERY_RANGE:-LOCALHOST}"

unset -f _mm_prepend
unset _mm_root _mm_venv _mm_folder _mm_libraries
