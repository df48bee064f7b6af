"""Damaged files through the program.   corrupt.py PAI_OPT [--count=N] [--seed=N] [--only=K] [--keep=DIR]

Takes small sound files (models in binary and text form, arrays, IDX, test folders, rules), damages
each in a way drawn from the seed, and hands it to a verb that reads it. Every run has to end by
itself with a documented code, in bounded time and memory, with an error line when it fails, and
leave nothing that a failure may not leave. Case K is the same in every run with that seed, so
--only=K --keep=DIR shows it again. PAI_SLOW=N allows N times the time and memory, for sanitizers.
"""
import gzip
import io
import os
import random
import re
import resource
import shutil
import struct
import subprocess
import sys
import tempfile
import time
import zipfile

PROGRAM, SEED, COUNT, ONLY, KEEP = os.path.abspath(sys.argv[1]), "1", 300, None, None
SLOW = float(os.environ.get("PAI_SLOW", "1"))
for argument in sys.argv[2:]:
    key, value = argument.split("=", 1)
    if key == "--count":
        COUNT = int(value)
    elif key == "--seed":
        SEED = value
    elif key == "--only":
        ONLY = int(value)
    elif key == "--keep":
        KEEP = value
    else:
        sys.exit("corrupt.py knows no " + key)

SECONDS, MEGABYTES = 2, 200  # of processor time, and resident
HANG = 60  # seconds of wall-clock time, on a machine that does other things too
ERROR = re.compile(r"^pai-opt: error E\d{4}: \S", re.M)
HERE = os.path.dirname(os.path.abspath(__file__))
RULES = b"""{"rules": [
  {"match": {"family": "weights", "op_type": "Gemm"}, "compose": "replace",
   "transform": {"fn": "deterministic_rounding", "num_levels": 15, "input_range": [-1.5, 1.5]}}]}"""


def npy(values):
    head = "{'descr': '<f4', 'fortran_order': False, 'shape': (%d, 2), }" % (len(values) // 2)
    head += " " * (63 - (10 + len(head)) % 64) + "\n"
    return (b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head.encode() +
            struct.pack("<%df" % len(values), *values))


def npz(members, kind):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", kind) as z:
        for name, data in members.items():
            z.writestr(name + ".npy", data)
    return file.getvalue()


def idx(kind, dims, body):
    return bytes([0, 0, kind, len(dims)]) + struct.pack(">%dI" % len(dims), *dims) + body


def tensor(values):  # TensorProto: dims, data_type FLOAT, raw_data
    raw = struct.pack("<%df" % len(values), *values)
    return bytes([8, len(values) // 2, 8, 2, 16, 1, 0x4A, len(raw)]) + raw


def read(*path):
    with open(os.path.join(HERE, *path), "rb") as f:
        return f.read()


def models():
    for folder in ("data/models", "text", "data/text", "../examples"):
        for name in sorted(os.listdir(os.path.join(HERE, folder))):
            if name.endswith((".onnx", ".onnxtxt")) and "error" not in name and os.path.getsize(
                    os.path.join(HERE, folder, name)) < 32768:
                yield name, re.split(rb"^# >>>$", read(folder, name), flags=re.M)[0]


TINY = read("../examples/tiny.onnxtxt")
FLOATS = [0.5 * i - 3 for i in range(16)]
EXTERNAL = read("data/models/own_mlp_external.data")
IMAGES = idx(0x0D, [8, 2], struct.pack(">16f", *FLOATS))
LABELS = idx(0x08, [8], bytes(i % 2 for i in range(8)))

# The damaged file, its sound contents, the sound files beside it, and the verbs that read it.
MODEL = ["inspect M", "inspect --json M", "opt M -o out.onnx", "opt M -o out.onnx --passes=",
         "M -o out.onnxtxt", "opt M -o out.onnx --runtime=reference --report=out.json",
         "convert M -o out.onnx", "convert M -o out.onnxtxt", "convert M -o out.onnx --inline",
         "convert M -o out.onnx --external=out.data", "run M", "run M --output=out.npz",
         "run M --runtime=reference", "compare M M", "grad M --output=out.npz",
         "opt M -o out.onnx --passes=add-transforms{rules=\"weights:int_quant{n_bits=4}\"},burn-in",
         "opt M -o out.onnx --passes=add-dendrites", "burn-in M -o out.onnx", "verify T"]
DATA = ["run tiny.onnxtxt --input=D", "compare tiny.onnxtxt tiny.onnxtxt --input=D",
        "grad tiny.onnxtxt --upstream=D", "train tiny.onnxtxt --data=D --epochs=1 -o out.onnx"]
TRAIN = ["train tiny.onnxtxt --data=D --epochs=1 -o out.onnx",
         "train tiny.onnxtxt --data=D --val=D --epochs=1 -o out.onnx"]


def binary(text):
    return subprocess.run([PROGRAM, "convert", "-", "-o", "/dev/stdout"], input=text, check=False,
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout or b"\0"


def subjects():
    for name, data in models():
        yield name, data, {"own_mlp_external.data": EXTERNAL}, MODEL
        if name.endswith("txt"):
            yield name[:-3], binary(data), {}, MODEL
    tiny = {"tiny.onnxtxt": TINY}
    x, y = npy(FLOATS), npy(FLOATS[:2])
    for kind in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        yield "d.npz", npz({"x": x, "label": y}, kind), tiny, DATA
    yield "d.npy", x, tiny, DATA
    yield "x.idx2", IMAGES, {"y.idx1": LABELS, **tiny}, [t.replace("D", "x.idx2,y.idx1") for t in TRAIN]
    yield "x.idx2.gz", gzip.compress(IMAGES, mtime=0), {"y.idx1": LABELS, **tiny}, [
        t.replace("D", "x.idx2.gz,y.idx1") for t in TRAIN]
    yield "y.idx1", LABELS, {"x.idx2": IMAGES, **tiny}, [t.replace("D", "x.idx2,y.idx1") for t in TRAIN]
    yield "t/test_data_set_0/input_0.pb", tensor(FLOATS), {
        "t/model.onnxtxt": TINY, "t/test_data_set_0/output_0.pb": tensor(FLOATS), **tiny}, [
        "run tiny.onnxtxt --input=t/test_data_set_0", "train tiny.onnxtxt --data=t -o out.onnx"]
    yield "own_mlp_external.data", EXTERNAL, {
        "m.onnx": read("data/models/own_mlp_external.onnx")}, ["run m.onnx", "opt m.onnx -o out.onnx"]
    yield "rules.json", RULES, tiny, ["opt tiny.onnxtxt -o out.onnx --passes=add-transforms{rules=D}"]
    yield "known.txt", b"node/test_abs known\n# why\npattern* reason\n", {
        "t/model.onnx": TINY, **tiny}, ["verify t --manifest=D"]


SUBJECTS = list(subjects())
POOL = [s[1] for s in SUBJECTS]
WORDS = [b"9223372036854775807", b"-9223372036854775808", b"-1", b"0", b"4294967296", b"1e400", b"nan",
         b"\"", b"{", b"}", b"(", b"<", b">", b"[", b",", b"?", b"\0", b"\xff\xfe", b"\xc3", b"\n", b"//",
         b"float", b"seq(float)", b"Loop", b"..", b"/", b":", b"#@ ", b"x", b"y"]
SIZES = [0, 1, 2, 7, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 2**40, 2**63 - 1, 2**63, 2**64 - 1]


def varint(n):
    out = bytearray()
    while n > 0x7F:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    out.append(n)
    return bytes(out)


def flip(r, data):
    at = r.randrange(len(data))
    return data[:at] + bytes([data[at] ^ 1 << r.randrange(8)]) + data[at + 1:]


def byte(r, data):
    at = r.randrange(len(data))
    return data[:at] + bytes([r.choice([0, 1, 0x7F, 0x80, 0xFF, r.randrange(256)])]) + data[at + 1:]


def cut(r, data):
    return data[:r.randrange(len(data))]


def drop(r, data):
    at = r.randrange(len(data))
    return data[:at] + data[at + 1 + r.randrange(16):]


def double(r, data):
    at = r.randrange(len(data))
    n = 1 + r.randrange(200)
    return data[:at] + data[at:at + n] * r.choice([2, 2, 3, 50]) + data[at + n:]


def splice(r, data):
    other = r.choice(POOL)
    at, start = r.randrange(len(data)), r.randrange(len(other))
    n = 1 + r.randrange(300)
    return data[:at] + other[start:start + n] + data[at + r.choice([0, n]):]


def length(r, data):  # what may be a length, a size or a count
    at = r.randrange(len(data))
    size = r.choice(SIZES)
    new = r.choice([varint(size), struct.pack("<Q", size)[:4], struct.pack(">Q", size)[4:],
                    struct.pack("<Q", size)])
    return data[:at] + new + data[at + r.choice([1, len(new)]):]


def number(r, data):  # in text: another number
    found = list(re.finditer(rb"-?\d+", data))
    if not found:
        return length(r, data)
    m = r.choice(found)
    return data[:m.start()] + str(r.choice([-1, 1]) * r.choice(SIZES)).encode() + data[m.end():]


def word(r, data):
    found = list(re.finditer(rb"[A-Za-z_]\w*|[^\s\w]", data))
    if not found:
        return flip(r, data)
    m = r.choice(found)
    new = r.choice(WORDS) if r.randrange(2) else r.choice(found).group()
    return data[:m.start()] + new + data[m.end():]


BINARY = [flip, flip, byte, byte, cut, drop, double, splice, length, length]
TEXT = [flip, byte, cut, drop, double, splice, number, number, number, word, word, word]


def damage(r, data):
    text = all(b < 0x80 for b in data[:64]) and b"\0" not in data[:64]
    for _ in range(r.choice([1, 1, 1, 2, 3, 8])):
        data = r.choice(TEXT if text else BINARY)(r, data) or b"\0"
    return data


def limited():
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 30, 1 << 30))


def execute(command, folder):
    """Exit code, what was said, processor seconds, megabytes; negative codes are signals."""
    with tempfile.TemporaryFile() as said:
        p = subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                             stderr=said, preexec_fn=limited)
        end = time.monotonic() + HANG * SLOW
        pause = 0.001
        while True:
            pid, status, used = os.wait4(p.pid, os.WNOHANG)
            if pid:
                break
            if time.monotonic() > end:
                p.kill()
                os.wait4(p.pid, 0)
                p.returncode = -9
                return None, "", HANG, 0
            time.sleep(pause)
            pause = min(2 * pause, 0.02)
        p.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        return (p.returncode, said.read().decode("utf-8", "replace"), used.ru_utime + used.ru_stime,
                used.ru_maxrss / 1024)


def files_in(folder):
    return {os.path.relpath(os.path.join(at, f), folder) for at, _, fs in os.walk(folder) for f in fs}


def wrong(code, said, seconds, megabytes, made, verb):
    allowed = {0, 3, 4, 5}
    if verb in ("verify", "grad", "compare"):
        allowed.add(1)
    if verb == "train":
        allowed.add(7)
    if verb in ("opt", "grad"):
        allowed.add(2)  # nothing that rules match, to grow at or to differentiate by
    if code is None:
        return "hangs"
    if code not in allowed:
        return "ends with %d" % code
    if code not in (0, 1) and not ERROR.search(said):
        return "fails without an error line"
    if seconds > SECONDS * SLOW:
        return "takes %.1f s" % seconds
    if megabytes > MEGABYTES * SLOW:
        return "takes %.0f MB" % megabytes
    left = {f for f in made if f.endswith(".tmp") or (code and f != "out.json")}
    return "leaves " + ", ".join(sorted(left)) if left else None


def case(k):
    r = random.Random("%s/%d" % (SEED, k))
    name, data, beside, verbs = r.choice(SUBJECTS)
    folder = tempfile.mkdtemp(prefix="pai-corrupt-")
    verb = r.choice(verbs)
    files = {name: damage(r, data), **beside}
    if verb == "verify T":
        files = {"t/model.onnx": files[name], "t/test_data_set_0/input_0.pb": tensor(FLOATS),
                 "t/test_data_set_0/output_0.pb": tensor(FLOATS), **beside}
    for f, contents in files.items():
        os.makedirs(os.path.dirname(os.path.join(folder, f)), exist_ok=True)
        with open(os.path.join(folder, f), "wb") as out:
            out.write(contents)
    command = [{"M": name, "D": name, "T": "t"}.get(w, w.replace("=D", "=" + name)) for w in verb.split()]
    before = files_in(folder)
    code, said, seconds, megabytes = execute([PROGRAM, *command], folder)
    made = files_in(folder) - before
    why = wrong(code, said, seconds, megabytes, made, verb.split()[0])
    if not why and code and b"\x1b" in said.encode():
        why = "prints control characters"
    if why or ONLY is not None:
        print("case %d: pai-opt %s: %s (exit %s, %.2f s, %.0f MB)\n%s" % (
            k, " ".join(command), why or "as it should", code, seconds, megabytes, said[:400]), flush=True)
    if KEEP and (why or ONLY is not None):
        shutil.copytree(folder, os.path.join(KEEP, str(k)), dirs_exist_ok=True)
    shutil.rmtree(folder)
    return bool(why), code, seconds, megabytes


results = [case(k) for k in ([ONLY] if ONLY is not None else range(COUNT))]
codes = {}
for result in results:
    codes[result[1]] = codes.get(result[1], 0) + 1
bad = sum(r[0] for r in results)
print("%d files: exit codes %s; at most %.2f s and %.0f MB; %d wrong" % (
    len(results), ", ".join("%s: %d" % c for c in sorted(codes.items(), key=str)),
    max(r[2] for r in results), max(r[3] for r in results), bad))
sys.exit(bad > 0)
