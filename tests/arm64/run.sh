#!/usr/bin/env bash
# Runs the bundled networks, or any Python script, by real arm64 binaries under emulation. Functional only: no timings.
#
#   tests/arm64/run.sh [IMAGES]            classes on x86 against arm64, over IMAGES synthetic images (default 64)
#   tests/arm64/run.sh exec FILE.py ARGS   FILE.py by arm64's Python 3.11, with numpy and onnxruntime
#   tests/arm64/run.sh clean               removes what was fetched
#
# Exit codes: 0 done, 1 fp32.onnx or int8.arm.onnx gives another class, 2 something that you can fix.
# Environment:
#   EDGE_SE_ARM64   where the arm64 system is kept, 400 MB; default ~/.cache/edge-se/arm64
#   PYTHON          a Python with edge-se and pip; default python3
#   QEMU_CPU        the processor that is emulated; default cortex-a76
set -euo pipefail

cache=${EDGE_SE_ARM64:-${XDG_CACHE_HOME:-$HOME/.cache}/edge-se/arm64}
[[ $cache = /* ]] || cache=$PWD/$cache # a script that is run may change its folder
python=${PYTHON:-python3}
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
repository=$(cd "$here/../.." && pwd)
suite=bookworm numpy=2.4.6 onnxruntime=1.24.4 # later onnxruntimes crash at import under QEMU 7.2 (seen with 1.31.1)
root=$cache/$suite site=$cache/numpy-$numpy-onnxruntime-$onnxruntime
temporary=
# The nearest that QEMU 7.2 has to the A78AE of Orin: dot products, neither SVE nor i8mm. Its own default, `max`, has
# both and is seven times slower.
export QEMU_CPU=${QEMU_CPU:-cortex-a76}
PATH=$PATH:/usr/sbin # debootstrap's place, which users do not have on their path

fail() {
    echo "run.sh: $1" >&2
    exit 2
}

need() { # need TOOL PACKAGE
    command -v "$1" >/dev/null || fail "$1 is missing; install it: \`sudo apt install $2\`"
}

clean_up() {
    [ -z "$temporary" ] || rm -rf "$temporary"
}

# Debian's arm64 programs, unpacked and not installed: no binfmt, no chroot. Root's rights are for device nodes only.
fetch_root() {
    need debootstrap debootstrap
    need dpkg-deb dpkg
    local package own=()
    if [ "$(id -u)" -ne 0 ]; then
        need fakeroot fakeroot
        own=(fakeroot)
    fi
    echo "fetching Debian $suite for arm64 into $cache" >&2
    "${own[@]}" debootstrap --foreign --arch=arm64 --variant=minbase \
        --include=python3,libgomp1,libstdc++6 "$suite" "$temporary/root" >"$temporary/log" 2>&1 ||
        { tail -n 5 "$temporary/log" >&2; fail "debootstrap failed; check the network and the free space"; }
    for package in "$temporary"/root/var/cache/apt/archives/*.deb; do
        dpkg-deb --fsys-tarfile "$package" | tar -x --no-same-owner --keep-directory-symlink -C "$temporary/root"
    done
    rm -rf "$temporary/root/var/cache/apt/archives" "$temporary/root/debootstrap"
    mv -T "$temporary/root" "$root" 2>/dev/null || [ -d "$root" ] # another run was quicker
}

fetch_packages() {
    "$python" -m pip --version >/dev/null 2>&1 || fail "$python has no pip; name one that has with PYTHON"
    echo "fetching numpy $numpy and onnxruntime $onnxruntime for arm64" >&2
    "$python" -m pip install --quiet --no-deps --no-compile --only-binary=:all: --python-version 3.11 \
        --implementation cp --platform manylinux_2_28_aarch64 --platform manylinux_2_27_aarch64 \
        --platform manylinux2014_aarch64 --target "$temporary/site" "numpy==$numpy" "onnxruntime==$onnxruntime" >&2 ||
        fail "pip could not fetch them; check the network"
    mv -T "$temporary/site" "$site" 2>/dev/null || [ -d "$site" ]
}

prepare() {
    need qemu-aarch64-static qemu-user-static
    mkdir -p "$cache"
    trap clean_up EXIT
    temporary=$(mktemp -d "$cache/part-XXXXXX")
    [ -d "$root" ] || fetch_root
    [ -d "$site" ] || fetch_packages
}

# emulated FILE.py ARGS: the user's own PYTHON* variables are for the Python of this machine, not for that one.
emulated() {
    env -u PYTHONHOME -u PYTHONSTARTUP PYTHONPATH="$site" PYTHONNOUSERSITE=1 PYTHONDONTWRITEBYTECODE=1 \
        qemu-aarch64-static -L "$root" "$root/usr/bin/python3.11" "$@"
}

compare() { # compare IMAGES
    local model folder images=$temporary/images.npy
    export PYTHONPATH=$repository${PYTHONPATH:+:$PYTHONPATH}
    "$python" -c 'import edge_se' 2>/dev/null || fail "$python has no edge-se; \`make arm64\` installs it"
    "$python" "$here/compare.py" images "$images" "$1"
    for model in se_resnet18 resnet18; do
        folder=$temporary/$model
        # The synthetic set, so that the files are the same with CIFAR-10 at hand and without.
        "$python" -m edge_se export --model "$model" --int8 --target cpu,arm,tensorrt --calibration synthetic-256 \
            --no-accuracy --quiet --out "$folder" >/dev/null ||
            fail "$model could not be exported"
        echo "$model: on this machine" >&2
        "$python" "$here/classes.py" "$images" "$folder/x86" "$folder"/*.onnx
        echo "$model: under emulation" >&2
        emulated "$here/classes.py" "$images" "$folder/arm64" "$folder"/*.onnx ||
            fail "arm64's onnxruntime failed ($?)"
    done
    "$python" "$here/compare.py" report "$repository/bench/results/arm64.json" "$temporary"/*resnet18
}

case ${1:-64} in
exec)
    [ $# -ge 2 ] || fail "exec takes a Python file and its arguments"
    [ -f "$2" ] || fail "$2: no such file"
    prepare
    shift
    emulated "$@"
    ;;
clean)
    rm -rf "$root" "$site" "$cache"/part-*
    ;;
*[!0-9]* | 0*)
    fail "'$1' is neither a number of images nor exec nor clean"
    ;;
*)
    prepare
    compare "${1:-64}"
    ;;
esac
