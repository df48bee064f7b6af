#!/bin/sh
# clang-tidy over all sources with the checks of .clang-tidy.   tidy.sh BUILD (for compile flags)
set -eu
cd "$(dirname "$0")/.."
includes=$(pkg-config --cflags libprotobuf-c libcjson libzip)
ls schemas/*.c compiler/*.c runtime/*.c runtime/*/*.c passes/*.c |
	xargs -P "$(nproc)" -n 8 clang-tidy-14 --quiet --warnings-as-errors='*' -- -std=gnu17 -I. \
		-I"$1/generated" $includes -DPAI_BUILDING -D_GNU_SOURCE -DPAI_VERSION='""' \
		-DPAI_SOURCE_DIR='""' -DPAI_DATA_DIR='""' -fopenmp 2>/dev/null
