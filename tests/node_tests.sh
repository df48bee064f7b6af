#!/bin/sh
# Runs the test folders of ONNX with one of the two runtimes.   node_tests.sh PAI_OPT fast|reference
# What cannot pass yet is listed with its reason in expected_node_failures.txt.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
data=$("$here/fetch_node_tests.sh")
exec "$1" verify "$data/node" "$data/simple" "$data/pytorch-converted" "$data/pytorch-operator" \
	--runtime="$2" --manifest="$here/expected_node_failures.txt"
