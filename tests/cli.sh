#!/bin/sh
# The command line as scripts see it: exit codes, messages, files.   cli.sh PAI_OPT
# Each case is one line: expect CODE 'text that must be in the output' command...
set -u
bin=$(readlink -f "$1")
here=$(dirname "$(readlink -f "$0")")
tiny=$here/../examples/tiny.onnxtxt
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
passed=0 failed=0

verdict() { # what, whether it holds (0), what was seen
	if [ "$2" -eq 0 ]; then
		passed=$((passed + 1))
	else
		failed=$((failed + 1))
		echo "FAILED: $1"
		printf '%s\n' "$3" | head -n 8
	fi
}
expect() { # code, text, command...
	want=$1 text=$2
	shift 2
	out=$("$@" 2>&1)
	code=$?
	case $out in
	*"$text"*) [ "$code" -eq "$want" ] ;;
	*) false ;;
	esac
	verdict "$* (exit $code, expected $want and \"$text\")" $? "$out"
}
holds() { # what, command that succeeds when it holds
	what=$1
	shift
	out=$("$@" 2>&1)
	verdict "$what" $? "$out"
}
absent() { [ ! -e "$1" ]; }

# help and versions
expect 0 'usage: pai-opt' "$bin" --help
expect 2 'usage: pai-opt' "$bin"
expect 0 'ONNX IR' "$bin" --version
expect 0 'protobuf-c 1.' "$bin" --version
expect 0 'run-work' "$bin" --list-limits
for verb in $("$bin" --help | sed -n 's/^  \([a-z-]*\)  .*/\1/p'); do
	expect 0 "usage: pai-opt $verb" "$bin" "$verb" --help
	expect 2 'has no option "--no-such-option"' "$bin" "$verb" --no-such-option
done
for list in $("$bin" --help | grep -o -- '--list-[a-z]*' | cut -c8-); do
	expect 0 '' "$bin" --list-$list
	expect 0 '[' "$bin" --list-$list --json
	holds "--list-$list --json is JSON with names" sh -c "'$bin' --list-$list --json |
		python3 -c 'import json, sys; assert all(r[\"name\"] for r in json.load(sys.stdin))'"
done
expect 2 '' "$bin" --list-nonsense

# small models that ask for much
cat >long.onnxtxt <<'END'
<ir_version: 9, opset_import: ["" : 17]>
g (float[2] x) => (float[2] y) {
   c = Constant <value = bool {1}> ()
   d = Abs (x)
   y = Loop (, c, x) <body = b (int64 i, bool on, float[2] s) => (bool e, float[2] t) {
      e = Identity (on)
      t = Add (s, x)
   }>
}
END
cat >large.onnxtxt <<'END'
<ir_version: 9, opset_import: ["" : 17]>
g (float[1] x) => (float[60000,60000] y) {
   d = Abs (x)
   s = Constant <value = int64[2] {60000, 60000}> ()
   y = Expand (x, s)
}
END
expect 4 'run_work' "$bin" long.onnxtxt
expect 4 '--check=0' "$bin" long.onnxtxt
expect 4 'run_work' "$bin" run long.onnxtxt --runtime=reference
expect 4 'allowed are 1000000 (run_work)' "$bin" run long.onnxtxt --limit-run-work=1000000
expect 4 'run_bytes' "$bin" large.onnxtxt
expect 4 'run_bytes' "$bin" compare large.onnxtxt large.onnxtxt
expect 4 '--max-memory' "$bin" grad large.onnxtxt --output=g.npz
holds 'nothing was written' absent long.opt.onnxtxt
holds 'nothing was written' absent large.opt.onnxtxt
expect 0 'wrote' "$bin" long.onnxtxt --check=0

# many folds, each of them small: the sum is bounded
python3 - <<'END'
def chain(name, nodes, body):
    with open(name, "w") as f:
        f.write('<ir_version: 8, opset_import: ["" : 17]>\ng (float[1] x) => (float[1] v%d)\n' % nodes)
        f.write('<int64[1] n = {16000}, float[1] one = {1}> {\n v0 = Abs (x)\n')
        for i in range(nodes):
            f.write(body % {"i": i, "next": i + 1, "half": i // 2})
        f.write("}\n")
chain("folds.onnxtxt", 2000, " w%(i)d = Expand (one, n) r%(i)d = ReduceSum (w%(i)d) v%(next)d = Add (v%(i)d, r%(i)d)\n")
chain("many.onnxtxt", 100000, " v%(next)d = Add (v%(i)d, v%(half)d)\n")
END
expect 0 'kept: all values are too large together 9' "$bin" folds.onnxtxt -o folds.onnx --stats --check=0 --passes=fold-constants
holds 'the file stays within the sum' [ "$(wc -c <folds.onnx)" -lt 70000000 ]
expect 0 'kept: all values are too large together 19' "$bin" folds.onnxtxt -o folds.onnx --stats --check=0 --passes=fold-constants --limit-folded-sum=1
rm -f folds.onnx
# a legal model of 100,000 nodes, values of which are read again much later; more where two models or
# the gradient of one are laid out
bounded() { # megabytes, command...
	megabytes=$1
	shift
	expect 0 '' python3 "$here/bounded.py" 4 "$megabytes" "$bin" "$@"
}
bounded 200 inspect many.onnxtxt
bounded 200 inspect many.onnxtxt --json --report=many.json
bounded 300 opt many.onnxtxt -o many.onnx
bounded 200 inspect many.onnx
bounded 200 opt many.onnx -o many2.onnx
bounded 200 convert many.onnx -o many2.onnxtxt
bounded 200 run many.onnx
bounded 450 compare many.onnx many.onnx
bounded 450 grad many.onnx
bounded 200 burn-in many.onnx -o many2.onnx
rm -f many.* many2.*

# counters are of what was done
cat >three.onnxtxt <<'END'
<ir_version: 8, opset_import: ["" : 17]>
g (float[2] x) => (float[2] y) {
   a = Identity (x)
   b = Identity (a)
   c = Identity (b)
   d = Abs (x)
   y = Neg (c)
}
END
counted() { # pattern, options...
	pattern=$1
	shift
	"$bin" three.onnxtxt -o three.onnx --stats "$@" | grep -q "$pattern"
}
holds 'one of three was removed' counted 'removed  *1$' --passes=eliminate-nop --stop-after=1
holds 'two of three were removed' counted 'removed  *2$' --passes=eliminate-nop --stop-after=2
holds 'all were removed' counted 'removed  *3$' --passes=eliminate-nop
holds 'one of four dead nodes went' counted 'nodes  *1$' --passes=eliminate-nop,eliminate-dead --stop-after=4

# what a file says against itself
contradicts() { # text of graph and body
	printf '<ir_version: 8, opset_import: ["" : 17]>\n%s\n' "$1" >contradicts.onnxtxt
	rm -f contradicts.opt.onnxtxt
	expect 3 "$2" "$bin" contradicts.onnxtxt
	expect 3 "$2" "$bin" run contradicts.onnxtxt
	holds 'nothing was written' absent contradicts.opt.onnxtxt
}
contradicts 'g (float[2,2] x = {1, 2, 3, 4}, float[2,2] w) => (float[2,2] y)
	<int64[4] w = {1, 2, 3, 4}> { y = Add(x, w) }' '"w"'
contradicts 'g (float[N,3] w, float[2,4] x) => (float[2,4] y)
	<float[2,4] w = {1, 2, 3, 4, 5, 6, 7, 8}> { y = Add(x, w) }' '"w"'
contradicts 'g (float[2] x) => (int64[2] y) { y = Neg(x) }' '"y"'
contradicts 'g (float[2] x) => (float[2] y) <float[3] t> { t = Neg(x) y = Neg(t) }' '"t"'
contradicts 'g (float[2] x, bool c) => (float[2] y) {
	y = If (c) <then_branch = t () => (float[3] a) { a = Neg(x) },
		else_branch = e () => (float[2] b) { b = Neg(x) }> }' '"a"'

# ... of the shape of an output, which exporters get wrong: a warning, once
printf '<ir_version: 8, opset_import: ["" : 17]>\ng (float[2] x) => (float[3] y) { t = Identity(x) y = Neg(t) }\n' >misstated.onnxtxt
expect 0 'warning E0708' "$bin" misstated.onnxtxt -o misstated.onnx
expect 0 'warning E0708' "$bin" run misstated.onnxtxt
once() { [ "$("$bin" misstated.onnxtxt -o misstated.onnx 2>&1 | grep -c E0708)" = 1 ]; }
holds 'a wrong shape of an output is told once' once
stays() { "$bin" convert misstated.onnx -o misstated2.onnxtxt && grep -q 'float\[3\] y' misstated2.onnxtxt; }
holds 'what the file states of its output stays' stays

# names that would steer a terminal or a CI log
wild=$(printf '\033[31m\302\233\342\200\256\377::error::##[x]')
printf '<ir_version: 8, opset_import: ["" : 17]>\ng (float[2] "%s") => (float[2] "::%s") { "::%s" = Nag("%s") }\n' \
	"$wild" "$wild" "$wild" "$wild" >wild.onnxtxt
sed 's/Nag/Neg/' wild.onnxtxt >wild2.onnxtxt
clean() { # command: nothing of the kind is printed
	! "$@" 2>&1 | LC_ALL=C grep -aqE "$(printf '[\001-\010\013-\037\177\377]|\302[\200-\237]|\342\200[\216\217\250-\256]|^[[:space:]]*::|##\\[')"
}
for options in '' --errors=json -v --stats --print-after=all; do
	holds "no control characters: opt $options" clean "$bin" wild.onnxtxt $options
	holds "no control characters: opt $options" clean "$bin" wild2.onnxtxt -o w.onnx $options
done
for verb in run inspect 'inspect --json' 'run --profile' 'compare wild2.onnxtxt' 'run --repeat=2'; do
	holds "no control characters: $verb" clean "$bin" $verb wild2.onnxtxt
done
holds 'no control characters: missing file' clean "$bin" "$wild.onnx"
holds 'no control characters: unknown option' clean "$bin" wild.onnxtxt "--$wild"

# usage
expect 2 'did you mean --passes?' "$bin" "$tiny" --pases=x
expect 2 'did you mean eliminate-dead?' "$bin" "$tiny" --passes=eliminate-dea
expect 2 'max_growth' "$bin" "$tiny" --passes='fold-constants{max_grow=1}'
expect 2 'whole number' "$bin" "$tiny" --check=many
expect 2 'one of text|json' "$bin" "$tiny" --errors=xml
expect 2 'needs a value' "$bin" "$tiny" -o
expect 2 'needs' "$bin" compare "$tiny"
expect 2 'takes no argument' "$bin" opt "$tiny" "$tiny"
expect 2 '--max-memory' "$bin" "$tiny" --max-memory=lots
expect 2 'grammar' sh -c "'$bin' '$tiny' --passes='a{b' 2>&1 | sed 's/.*hint.*/grammar/'; exit 2"

expect 2 'names no pass' "$bin" "$tiny" --print-after=nonsense

# a list that is none, and data that is larger than memory may be
truncate -s 64G sparse.txt
expect 4 'json_bytes' timeout 20 "$bin" verify empty --manifest=sparse.txt
printf '\000\000\010\001\200\000\000\000' >sparse.idx1
truncate -s $((8 + 2147483648)) sparse.idx1
expect 3 'E13' python3 "$here/bounded.py" 2 200 "$bin" train "$tiny" --data=sparse.idx1 -o trained.onnx
rm -f sparse.txt sparse.idx1

# an expected failure of a code is of no other
mkdir -p suite/kind/t
"$bin" convert "$tiny" -o suite/kind/t/model.onnx
echo 'kind/t E0201 has no data' >coded.txt
expect 0 '1 skipped' "$bin" verify suite --manifest=coded.txt
echo 'kind/t E1001 has no kernel' >coded.txt
expect 1 'E0201' "$bin" verify suite --manifest=coded.txt
echo 'kind/t E1060 has other numbers' >coded.txt
expect 1 'E0201' "$bin" verify suite --manifest=coded.txt
echo 'kind/t has no data' >coded.txt
expect 0 '1 skipped' "$bin" verify suite --manifest=coded.txt

# files
expect 5 'E0201' "$bin" nothing.onnx
expect 5 'E0204' "$bin" .
printf 'no model at all' >junk.onnx
expect 3 'junk.onnx' "$bin" junk.onnx -o junk.out.onnx
holds 'no output after an error' absent junk.out.onnx
: >empty.onnx
expect 3 'empty.onnx' "$bin" empty.onnx -o junk.out.onnx
expect 3 '"severity":"error"' "$bin" junk.onnx --errors=json
expect 5 'E0203' "$bin" "$tiny" -o no/such/folder/x.onnx
expect 5 'E0203' "$bin" "$tiny" -o /dev/full
holds 'nothing is left behind' sh -c '[ -z "$(ls -A | grep tmp)" ]'
expect 4 'limit' "$bin" "$tiny" --limit-nodes=1 -o x.onnx

# the main path
expect 0 'wrote tiny.opt.onnxtxt' sh -c "cp '$tiny' . && '$bin' tiny.onnxtxt"
expect 0 'wrote a.onnx' "$bin" "$tiny" -o a.onnx
expect 0 'wrote b.onnx' "$bin" a.onnx --passes= -o b.onnx
holds 'no passes: equal bytes' cmp a.onnx b.onnx
expect 0 '' sh -c "cat a.onnx | '$bin' - --passes= -o - >c.onnx"
holds 'through a pipe: equal bytes' cmp a.onnx c.onnx
expect 0 'wrote a.onnx' "$bin" a.onnx -o a.onnx --passes=
holds 'onto itself: equal bytes' cmp a.onnx b.onnx
expect 0 'abs 0' "$bin" compare a.onnx b.onnx
expect 0 '' "$bin" a.onnx -o d.onnx --report=r.json -q
holds 'the report says which passes ran' grep -q '"eliminate-dead"' r.json
expect 0 '' "$bin" a.onnx --dry-run -o e.onnx
holds 'a dry run writes nothing' absent e.onnx
sed 's/0.9, -0.4/0.8, -0.4/' "$tiny" >other.onnxtxt
expect 1 'E0802' "$bin" compare "$tiny" other.onnxtxt
expect 1 'E0802' "$bin" compare "$tiny" other.onnxtxt --rtol=0 --atol=1e-9
expect 0 '' "$bin" compare "$tiny" other.onnxtxt --atol=10

# gradients against differences: dead and zero ones, kinks, edges of a domain, integers, unused inputs
cat >dead.onnxtxt <<'EOF'
<ir_version: 8, opset_import: ["" : 17]>
g (float[2, 3] x, int64[2] index, float[2] unused) => (float[2, 2] y, float[2, 3] z)
<float[3, 4] w = {-0.26, -0.9, -0.11, -0.37, -0.5, -0.25, -0.77, -0.6, -0.05, -0.33, -0.41, -0.8},
 float[4] b = {-100, -100, -100, -100}, float[4, 2] v = {1, 2, 3, 4, 5, 6, 7, 8}, float[3] zero = {0, 0, 0},
 float[2, 3] t = {1, 2, 3, 4, 5, 6}>
{
   h = Gemm (x, w, b)
   r = Relu (h)
   y = MatMul (r, v)
   q = Gather <axis = 0> (t, index)
   z = Mul (q, zero)
}
EOF
cat >flat.onnxtxt <<'EOF'
<ir_version: 8, opset_import: ["" : 17]>
g (float[64, 3] x) => (float[64, 3] y)
<float[3, 4] w = {0.26, -0.9, 0.11, 0.37, 0.5, -0.25, 0.77, -0.6, 0.05, 0.33, -0.41, 0.8},
 float[4, 3] v = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}, float[3] large = {1000, 2000, 3000}>
{
   h = MatMul (x, w)
   k = MatMul (h, v)
   s = Softmax (k)
   y = Add (s, large)
}
EOF
cat >edge.onnxtxt <<'EOF'
<ir_version: 8, opset_import: ["" : 17]>
g (float[3] x) => (float[3] y, float[4] r)
<float[3] w = {0.001, 0, 4}, float[4] k = {0, 0.001, -0.001, 1}>
{
   a = Sqrt (w)
   y = Mul (a, x)
   r = Relu (k)
}
EOF
cat >stairs.onnxtxt <<'EOF'
<ir_version: 8, opset_import: ["" : 17, "pai" : 1]>
g (float[3] x) => (float[3] y) <float[3] w = {0.3, 0.7, 1}>
{
   q = pai.DeterministicRounding <num_levels = 5> (w)
   y = Mul (x, q)
}
EOF
expect 1 'WRONG  w' "$bin" grad stairs.onnxtxt --check # straight-through, so not the slope of a stair
expect 0 'ok     unused' "$bin" grad dead.onnxtxt --check
expect 1 'OPEN   v' "$bin" grad flat.onnxtxt --check # rounding of thousands hides all
sed 's/1000, 2000, 3000/0.1, 0.2, 0.3/' flat.onnxtxt >flat2.onnxtxt
expect 0 'ok     v' "$bin" grad flat2.onnxtxt --check
sed -e 's/(float\[3\] y)/(float[3] y, float[3] z)/' -e 's/w = {[^}]*}/&, float[3] big = {1000, 1000, 1000}/' \
	-e 's/^   y = .*/&\n   z = Add (y, big)/' stairs.onnxtxt >hidden.onnxtxt
expect 1 '3 hidden by rounding' "$bin" grad hidden.onnxtxt --check
expect 1 'no element could be compared' "$bin" grad hidden.onnxtxt --check --wrt=w
expect 1 'OPEN: ' "$bin" grad hidden.onnxtxt --check --wrt=w
cat >apart.onnxtxt <<'EOF'
<ir_version: 8, opset_import: ["" : 17]>
g (float[3] x, float[3] z) => (float[3] y, float[3] far) <float[3] big = {1e9, 2e9, 3e9}> {
   y = Tanh (x)
   far = Add (z, big)
}
EOF
expect 0 'ok     x: 3 of 3' "$bin" grad apart.onnxtxt --check --wrt=x # large outputs that have nothing to do with it
expect 1 'OPEN   z' "$bin" grad apart.onnxtxt --check --wrt=z
cat >nan.onnxtxt <<'EOF'
<ir_version: 8, opset_import: ["" : 17]>
g (float[3] x) => (float[3] y) <float[3] w = {-1, -2, -3}> { l = Log (w) y = Mul (x, l) }
EOF
expect 1 'OPEN   w' "$bin" grad nan.onnxtxt --check
expect 1 '' "$bin" grad stairs.onnxtxt --check --output=unproven.npz
holds 'gradients that fail are not written' absent unproven.npz
expect 0 '1 where the outputs are not finite' "$bin" grad edge.onnxtxt --check
expect 0 '1 at a kink' "$bin" grad edge.onnxtxt --check
holds 'no NaN is shown' sh -c "! '$bin' grad edge.onnxtxt --check | grep -q nan"

# reports of all verbs, failures included, are as docs/report.schema.json says
cat >samples.py <<'EOF'
import struct, zipfile
def npz(name, **arrays):
    with zipfile.ZipFile(name, "w") as z:
        for key, (kind, dims, values) in arrays.items():
            head = "{'descr': '<%s4', 'fortran_order': False, 'shape': (%s)}" % (kind, "".join("%d," % d for d in dims))
            head = head.ljust(117) + "\n"
            body = struct.pack("<%d%s" % (len(values), kind), *values)
            z.writestr(key + ".npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head.encode() + body)
def idx(name, kind, dims, body):
    with open(name, "wb") as f:
        f.write(bytes([0, 0, kind, len(dims)]) + struct.pack(">%dI" % len(dims), *dims) + body)
idx("x.idx2", 0x0D, [8, 2], struct.pack(">16f", *[float(i % 3) for i in range(16)]))
idx("y.idx1", 0x08, [8], bytes(i % 2 for i in range(8)))
x = [float(i % 3) for i in range(16)]
y = ("i", [8], [i % 2 for i in range(8)])
npz("x.npz", x=("f", [8, 2], x), label=y, target=("f", [8, 2], x[::-1]))
npz("bad.npz", x=("f", [8, 2], x[:6] + [float("nan")] + x[7:]), label=y, target=("f", [8, 2], x))
EOF
python3 samples.py
mkdir reports
mkdir -p empty
report() { # exit code, verb and arguments...
	code=$1
	shift
	expect "$code" '' "$bin" "$@" --report=reports/$code-$1.json
}
report 0 opt "$tiny" -o r.onnx
report 4 opt stairs.onnxtxt -o r.onnx --passes= --target=generic
report 0 run "$tiny" --profile
report 1 compare "$tiny" other.onnxtxt
report 1 grad stairs.onnxtxt --check
printf '<ir_version: 8, opset_import: ["" : 17]>\ng (float[2] x) => (float[2] y) <float[2] w = {1, 1}> { y = Div (x, w) }\n' >one.onnxtxt
sed 's/1, 1/0, 0/' one.onnxtxt >zero.onnxtxt
expect 1 'abs inf' "$bin" compare one.onnxtxt zero.onnxtxt --report=reports/infinite.json
holds 'a report says inf' grep -q '"max_abs":.*"inf"' reports/infinite.json
expect 5 'E0203' "$bin" "$tiny" -o unreported.onnx --report=no/such/r.json
holds 'no report, no output' absent unreported.onnx
report 0 grad "$tiny"
report 0 inspect "$tiny"
expect 0 "batch 4096" "$bin" bench "$here/../examples/cnn.onnxtxt" --batch=4096 --rounds=1 --seconds=0.1
report 0 bench "$tiny"
report 0 burn-in stairs.onnxtxt -o r.onnx
report 0 convert "$tiny" -o r.onnx
report 3 verify empty
report 0 train "$tiny" --data=x.idx2,y.idx1 --val=x.idx2,y.idx1 --epochs=1 -o r.onnx
report 3 train "$tiny" --data=x.idx2 -o r.onnx
holds 'reports are valid' python3 "$here/report.py" "$here/../docs/report.schema.json" reports/*.json
holds 'a report of a failure says why' grep -q E0803 reports/4-opt.json

# tolerances: of 16 bits where those reach, and of units in the last place
cat >bf.onnxtxt <<'EOF'
<ir_version: 8, opset_import: ["" : 17]>
g (float[3] x, float[3] q) => (float[3] y, float[3] z) <float[3] w = {1, 1, 1}>
{ y = Mul (x, w) h = Cast<to = 16> (q) z = Cast<to = 1> (h) }
EOF
sed 's/1, 1, 1/1.05, 1.05, 1.05/' bf.onnxtxt >bf2.onnxtxt
sed 's/(h) }/(h) k = Mul (z, w) }/; s/float\[3\] z)/float[3] k)/' bf.onnxtxt >bf3.onnxtxt
sed 's/1, 1, 1/1.05, 1.05, 1.05/' bf3.onnxtxt >bf4.onnxtxt
expect 1 'output "y"' "$bin" compare bf.onnxtxt bf2.onnxtxt --report=reports/precision.json
expect 1 'rtol 0.0625' "$bin" compare bf3.onnxtxt bf4.onnxtxt
holds 'a report says which rtol' grep -q '"rtol":.*0.0625' reports/precision.json
sed 's/1, 1, 1/1.0000002, 1, 1/' bf.onnxtxt >near.onnxtxt
expect 0 '' "$bin" compare bf.onnxtxt near.onnxtxt --ulp=4
expect 1 'E0802' "$bin" compare bf.onnxtxt near.onnxtxt --ulp=0
expect 1 'E0802' "$bin" compare bf.onnxtxt bf2.onnxtxt --ulp=4
holds 'reports on precision are valid' python3 "$here/report.py" "$here/../docs/report.schema.json" reports/precision.json

# lengths and batches of training
train() { # code, text, options...
	code=$1 text=$2
	shift 2
	expect "$code" "$text" "$bin" train "$@" -o trained.onnx
}
train 2 'E0' "$tiny" --data=x.idx2,y.idx1 --steps=6000000000
sed 's/N, 2/8, 2/g' "$tiny" >fixed.onnxtxt
sed -e 's/float\[N, 2\] x/float[N, 3] x/' -e 's/float\[4, 2\] w1 = {/&1, 2, 3, 4, /; s/\[4, 2\] w1/[4, 3] w1/' "$tiny" >fixed3.onnxtxt
train 3 'x.idx2,y.idx1: 5 samples' fixed.onnxtxt --data=x.idx2,y.idx1 --val=x.idx2,y.idx1:5 --run-dir=fixed.run
holds 'nothing was trained before' absent fixed.run
train 0 'wrote' "$tiny" --data=x.idx2,y.idx1 --epochs=1 --optimizer='sgd{lr=0.1}' --log-steps=log.csv
holds 'all digits of the learning rate' grep -q ',0.100000001$' log.csv

# metrics: those that do not apply, and a list
train 2 'what does: accuracy, loss' "$tiny" --data=x.npz --val=x.npz --metric=loss,mse --run-dir=metric.run
train 2 'what does: loss, mse' "$tiny" --data=x.npz --label=target --val=x.npz --metric=accuracy --run-dir=metric.run
holds 'nothing was trained before' absent metric.run
train 0 ', mse 1.' "$tiny" --data=x.npz --val=x.npz --label=target --metric=mse,loss --epochs=2 --run-dir=metric.run \
	--report=reports/metric.json
holds 'the first metric chooses' grep -q '"metric":.*"mse"' reports/metric.json
holds 'the metric is a column' grep -q 'seconds,val_mse$' metric.run/epochs.csv
holds 'the metric has a value' grep -q ',[0-9.]*,1.[0-9]*$' metric.run/epochs.csv
holds 'reports of metrics are valid' python3 "$here/report.py" "$here/../docs/report.schema.json" reports/metric.json
train 0 'best.onnx (loss 1.' "$tiny" --data=x.npz --label=target --epochs=1 --run-dir=best.run
holds 'best.onnx is there' test -f best.run/best.onnx
train 0 'no best.onnx, as loss was never a number' "$tiny" --data=x.npz --label=target --epochs=1 --val=bad.npz \
	--run-dir=none.run
holds 'and it is not there' absent none.run/best.onnx
train 0 'bad.npz: sample 3 has NaN' "$tiny" --data=x.npz --label=target --epochs=1 --val=bad.npz
train 7 'bad.npz: sample 3 has NaN' "$tiny" --data=bad.npz --label=target --epochs=1

train 2 'takes names' "$tiny" --data=x.npz --val=x.npz --metric=
train 2 'no initialiser is named "w9", so nothing is trained' "$tiny" --data=x.npz --trainable=w9
train 3 'none of its 4 initialisers' "$tiny" --data=x.npz --freeze='*'
train 3 'targets of the output' "$tiny" --data=x.npz --loss=mse
train 3 'E1306: x.npz: field "x" is float[8,2]' fixed3.onnxtxt --data=x.npz
for signal in KILL TERM; do
	"$bin" train "$tiny" --data=x.npz --epochs=1000000 --log-steps=killed.csv -o killed.onnx -q --run-dir=$signal.run \
		--report=killed.json 2>killed.txt &
	until [ -s $signal.run/best.onnx ]; do sleep 0.05; done
	kill -$signal $!
	wait $! 2>shell.txt
	code=$?
	holds "$signal ends a run" [ "$code" -gt 128 ]
	holds 'a run that is ended leaves nothing' sh -c "! ls -A | grep -E 'killed[.](csv|onnx)'"
done
holds 'an interrupted run says so' grep -q 'E1209: interrupted after step [1-9]' killed.txt
holds 'an interrupted run keeps what it has' test -s TERM.run/last.onnx
holds 'an interrupted run leaves no half file' sh -c "! ls -A TERM.run | grep tmp"
holds 'an interrupted run reports' grep -q '"exit":	143' killed.json
holds 'the report of an interrupted run is valid' python3 "$here/report.py" "$here/../docs/report.schema.json" killed.json

# outputs that cannot be written are known before work begins
for flag in -o --log-steps=; do
	expect 5 'E0203' "$bin" train "$tiny" --data=x.idx2,y.idx1 ${flag}no/such/x.csv --run-dir=late.run
	holds "nothing was trained before: $flag" absent late.run
done
for command in "run $tiny --output=no/such/y.npz" "grad $tiny --output=no/such/y.npz" \
	"opt $tiny -o no/such/y.onnx --print-after=all" "burn-in stairs.onnxtxt -o no/such/y.onnx"; do
	expect 5 'E0203' "$bin" $command
	holds "nothing was done before: $command" sh -c "! '$bin' $command 2>&1 | grep -v '^pai-opt: '"
done

# what a user picks from, and what a target refuses
expect 2 'did you mean onnxruntime?' "$bin" "$tiny" --target=onnxruntim
expect 2 'did you mean cosine?' "$bin" train "$tiny" --data=x.npz --schedule=cosin
expect 2 'warmup' "$bin" train "$tiny" --data=x.npz --schedule='cosine{warm=3}'
expect 2 'did you mean accuracy?' "$bin" train "$tiny" --data=x.npz --val=x.npz --metric=acuracy
expect 2 'measured on --val' "$bin" train "$tiny" --data=x.npz --metric=accuracy

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
