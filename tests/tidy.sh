#!/bin/sh
# clang-tidy over all sources, or those given, with the checks of .clang-tidy.
#     tidy.sh BUILD [FILE...]          BUILD: a build folder, for the generated header
set -eu
cd "$(dirname "$0")/.."
build=$1
shift
[ $# -gt 0 ] || set -- schemas/*.c compiler/*.c runtime/*.c runtime/*/*.c passes/*.c
export PAI_TIDY_FLAGS="-std=gnu17 -I. -I$build/generated $(pkg-config --cflags libprotobuf-c libcjson libzip)
-DPAI_BUILDING -D_GNU_SOURCE -DPAI_VERSION=\"0\" -DPAI_SOURCE_DIR=\"\" -DPAI_DATA_DIR=\"\" -DPAI_DNNL=\"\" -DPAI_LIBZIP=\"\" -fopenmp"
printf '%s\n' "$@" | xargs -P "$(nproc)" -n 1 sh -c '
	out=$(clang-tidy-14 --quiet --warnings-as-errors="*" "$1" -- $PAI_TIDY_FLAGS 2>/dev/null) || {
		printf "%s\n" "$out"
		exit 1
	}' _
