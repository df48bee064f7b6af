#!/bin/sh
# Runs the test folders of ONNX with one of the two runtimes.   node_tests.sh PAI_OPT fast|reference
# What cannot pass yet is listed with its reason in expected_failures.txt.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
data=$("$here/fetch_node_tests.sh")
manifest=$(mktemp)
trap 'rm -f "$manifest"' EXIT
grep -E '^(node|simple|pytorch-[a-z]+)/' "$here/expected_failures.txt" >"$manifest"
"$1" verify "$data/node" "$data/simple" "$data/pytorch-converted" "$data/pytorch-operator" \
	--runtime="$2" --manifest="$manifest"
