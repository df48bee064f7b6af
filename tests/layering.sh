#!/bin/sh
# Includes go schemas <- compiler <- runtime <- passes; the driver may include all. Prints every wrong
# edge, then 'N passed, N failed' with one case for each folder.
set -u
cd "$(dirname "$0")/.."
driver='^compiler/(pai_opt\.c|cli[a-z_]*\.[ch]|verb_[a-z_]*\.c|verbs\.def):'
passed=0 failed=0
forbid() { # folder, the folders it must not include
	wrong=$(grep -rnE "#include \"($2)/" "$1" | grep -vE "$driver")
	if [ -n "$wrong" ]; then
		echo "$1 must not include $2:"
		echo "$wrong"
		failed=$((failed + 1))
	else
		passed=$((passed + 1))
	fi
}
forbid schemas 'compiler|runtime|passes'
forbid compiler 'runtime|passes'
forbid runtime 'passes'
# dnnl.h, protobuf-c and the like stay behind the files made for them
only() { # header, the files that may include it
	wrong=$(grep -rlE "#include [<\"]$1" schemas compiler runtime passes | grep -vE "$2")
	if [ -n "$wrong" ]; then
		echo "$1 is included by: $wrong"
		failed=$((failed + 1))
	else
		passed=$((passed + 1))
	fi
}
only 'dnnl' '^runtime/onednn\.c$'
only 'schemas/onnx\.pb-c' '^compiler/(wire|import|export|external|pb)[a-z_]*\.[ch]$'
only 'zip\.h' '^runtime/npz[a-z_]*\.c$'
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
