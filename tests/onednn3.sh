#!/bin/sh
# Builds with oneDNN 3.2 (plain C, GNU OpenMP; from the wheels onednn-cpu-gomp, by name and checksum)
# and runs the tests that execute models.   onednn3.sh CACHE
set -eu
cd "$(dirname "$0")/.."
cache=$1
if [ ! -f "$cache/root/include/dnnl.h" ]; then
	rm -rf "$cache"
	mkdir -p "$cache/root"
	cat >"$cache/requirements.txt" <<'R'
onednn-cpu-gomp==2023.2.0 --hash=sha256:2f22a54d6a890ed14bfa185d42a4be65d8b5b1df85dc1f0f3a9abe31620416fb
onednn-devel-cpu-gomp==2023.2.0 --hash=sha256:9763c69e8c907e119056bd52ad918ca84ac9ba939d130a99dfa95ccca3e5e284
R
	python3 -m pip download -q --no-deps --only-binary :all: --require-hashes \
		-r "$cache/requirements.txt" -d "$cache/wheels"
	for w in "$cache"/wheels/*.whl; do
		python3 -m zipfile -e "$w" "$cache/unpacked"
	done
	mkdir -p "$cache/root/lib"
	cp -r "$cache"/unpacked/onednn_devel_cpu_gomp-*.data/data/include "$cache/root/"
	cp "$cache"/unpacked/onednn_cpu_gomp-*.data/data/lib/libdnnl.so.3.2 "$cache/root/lib/libdnnl.so.3"
	ln -sf libdnnl.so.3 "$cache/root/lib/libdnnl.so"
fi
PAI_CHECK_BUILD=$PWD/build/onednn3 PAI_CHECK_CMAKE="-DPAI_ONEDNN_ROOT=$cache/root" \
	LD_LIBRARY_PATH="$cache/root/lib" ./check -L runtime
