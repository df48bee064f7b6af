#!/bin/sh
# run.sh PAI_OPT [--bless] [FILE...]: golden tests. A file is
#     # RUN: ARGS        arguments of pai-opt; the model is read from standard input, -o - is added
#     the model
#     # >>>
#     what must come out, messages included; after a failure its exit code: # exit 3
# --bless writes what comes out into the files.
pai=$1
shift
bless=
[ "$1" = --bless ] && bless=1 && shift
here=$(dirname "$0")
[ $# -gt 0 ] || set -- "$here"/*.onnxtxt
work=$(mktemp -d) || exit 5
trap 'rm -rf "$work"' EXIT
passed=0 failed=0
for file in "$@"; do
	args=$(sed -n '1s/^# RUN: //p' "$file")
	sed '1d;/^# >>>$/,$d' "$file" >"$work/model"
	sed '1,/^# >>>$/d' "$file" >"$work/expected"
	case " $args " in *" -o "* | *" --json "* | " inspect "*) out= ;; *) out='-o -' ;; esac
	# the words of the RUN line are meant to be quoted as in a shell
	eval "\"$pai\" $args $out - <\"\$work/model\" >\"\$work/out\" 2>\"\$work/err\""
	code=$?
	cat "$work/err" >>"$work/out"
	[ $code = 0 ] || echo "# exit $code" >>"$work/out"
	if cmp -s "$work/expected" "$work/out"; then
		passed=$((passed + 1))
	elif [ $bless ]; then
		{ sed '/^# >>>$/,$d' "$file" && echo '# >>>' && cat "$work/out"; } >"$work/new"
		cp "$work/new" "$file"
		echo "blessed $file"
		passed=$((passed + 1))
	else
		echo "FAILED $file"
		diff -u "$work/expected" "$work/out"
		failed=$((failed + 1))
	fi
done
echo "$passed passed, $failed failed"
[ $failed = 0 ]
