#!/bin/sh
# Too little memory: every run ends well, or with exit 6 and one line, and leaves nothing.
#     memory.sh PAI_OPT FAIL_NEW_SO
set -u
bin=$(readlink -f "$1")
shim=$(readlink -f "$2")
here=$(dirname "$(readlink -f "$0")")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
cp "$here"/../examples/*.onnxtxt "$here/data/models/own_lenet_op9.onnx" .
printf '\0\0\10\3\0\0\0\2\0\0\0\34\0\0\0\34' >x.idx3 # two images of nothing
head -c 1568 /dev/zero >>x.idx3
printf '\0\0\10\1\0\0\0\2\0\1' >y.idx1
runs=0 full=0 failed=0

# what, exit code, files that an end with 0 leaves
judge() {
	runs=$((runs + 1))
	lines=$(grep -vc '^pai-opt: hint' err)
	left=$(ls -A | grep -c -e '\.tmp$' -e '^out')
	case $2 in
	0) [ "$(ls -A | grep -c '\.tmp$')" -eq 0 ] ;;
	6) full=$((full + 1)) && [ "$lines" -eq 1 ] && [ "$left" -eq 0 ] && grep -q 'E0601' err ;;
	*) false ;;
	esac || {
		failed=$((failed + 1))
		echo "FAILED: $1: exit $2, $left left"
		head -n 3 err
	}
	rm -rf out* .out* folder
}

# Address space, in megabytes: steps of one where oneDNN starts to fit, then wider ones.
bench='bench cnn.onnxtxt --rounds=1 --seconds=0.01 --batch=64 --progress=off --threads=2'
limited() { # megabytes, arguments
	(
		ulimit -v $(($1 * 1024))
		shift
		exec "$bin" $@ >log 2>err
	)
	judge "ulimit -v $1 MB, $2" $?
}
for size in $(seq 30 80) $(seq 90 20 400); do
	limited "$size" "$bench"
done
for size in $(seq 30 10 100) 200 400; do
	limited "$size" opt own_lenet_op9.onnx -o out.onnx
	limited "$size" run cnn.onnxtxt --dim=N=8 --output=out.npz
	limited "$size" run cnn.onnxtxt --dim=N=8 --threads=2 --runtime=reference
done
if [ "$full" -le 20 ]; then
	failed=$((failed + 1))
	echo "FAILED: only $full runs had too little address space"
fi

# What operator new asks for: the first time, later, and never at all. oneDNN does not catch it.
for k in 1 2 3 5 10 30 100 300 1000 3000 1000000; do
	for command in --version "train mlp.onnxtxt --data=x.idx3,y.idx1 --steps=1 --run-dir=folder -o out.onnx"; do
		PAI_FAIL_NEW=$k LD_PRELOAD=$shim "$bin" $command >log 2>err
		judge "operator new fails from call $k on, $command" $?
	done
done
before=$full
for k in 1 2 3 5 10 30 100 300 1000 3000 1000000; do
	PAI_FAIL_NEW=$k LD_PRELOAD=$shim "$bin" $bench >log 2>err
	judge "operator new fails from call $k on" $?
done
if [ "$full" -le $((before + 5)) ] || [ "$full" -ge $((before + 11)) ]; then
	failed=$((failed + 1))
	echo "FAILED: of 11 runs without operator new, $((full - before)) ended so"
fi

echo "$runs runs, $full of them without memory, $failed failed"
[ "$failed" -eq 0 ]
