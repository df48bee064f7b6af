"""Training steps and inference beside PyTorch, ONNX Runtime and bare oneDNN primitives, as ratios.

    python bench/run.py PAI_OPT [--threads 1,2] [--batch 1,32,128] [--part train,infer] [--json FILE]

All of a cell is timed in turn, in rounds, and the minimum counts: processor time with one thread (what a shared machine disturbs least), wall time with
more. `prims` is the sum of the step's convolutions and products as single oneDNN primitives: a floor, not a plan. Needs onnx, numpy, onnxruntime, torch.
"""
import argparse, json, os, subprocess, sys, tempfile, time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
from nets import DEMO, NETS, export, export_demo, torch_net

SHAPE = {"mlp": (784,), "lenet": (1, 28, 28), "demo-mlp": (1, 28, 28), "demo-cnn": (1, 28, 28)}
# Convolutions (IC IH OC K PAD FIRST) and dense layers (inputs, outputs, first)
LAYERS = {
    "mlp": ([], [(784, 256, True), (256, 10, False)]),
    "lenet": (["1 28 16 5 2 1", "16 14 32 5 2 0"], [(1568, 128, False), (128, 10, False)]),
    "demo-mlp": ([], [(784, 256, True), (256, 10, False)]),
    "demo-cnn": (["1 28 16 3 1 1", "16 14 32 3 1 0"], [(1568, 64, False), (64, 10, False)]),
}


def prim_shapes(net, n, train):
    """Lines for prims.c: every convolution and product of a step."""
    convs, dense = LAYERS[net]
    lines = [f"conv {n} {c}" for c in convs]
    for i, o, first in dense:
        lines.append(f"gemm {n} {o} {i}")
        if train:
            lines.append(f"gemm {o} {i} {n}")
            if not first:
                lines.append(f"gemm {n} {i} {o}")
    return lines


def prims(binary, net, n, threads, train):
    out = subprocess.run([binary, str(threads)], input="\n".join(prim_shapes(net, n, train)), capture_output=True, text=True, check=True,
                         env=dict(os.environ, OMP_NUM_THREADS=str(threads))).stdout
    rows = [json.loads(l) for l in out.splitlines()]
    return sum(sum(r["ms"]) if train else r["ms"][0] for r in rows)


def ours(pai, model, n, threads, opt):
    cmd = [pai, "bench", model, f"--batch={n}", f"--threads={threads}", "--json", "--seconds=0.4"]
    r = json.loads(subprocess.run(cmd + (["--train", f"--optimizer={opt}"] if opt else []), capture_output=True, text=True, check=True).stdout)
    return r["cpu_ms"] if threads == 1 else r["min_ms"]


def timed(step, threads, seconds=0.4):
    clock = time.process_time if threads == 1 else time.perf_counter
    for _ in range(3):
        step()
    t = time.perf_counter(); step(); inner = max(1, int(0.01 / max(1e-7, time.perf_counter() - t)))
    best, end = 1e9, time.perf_counter() + seconds
    while time.perf_counter() < end:
        t = clock()
        for _ in range(inner):
            step()
        best = min(best, (clock() - t) / inner * 1e3)
    return best


def torch_steps(net, n, opt):
    import torch
    steps = {}
    for mode in ("eager", "fused", "fused channels_last"):
        if "channels_last" in mode and net == "mlp":
            continue
        m, x, y = torch_net(net), torch.randn(n, *SHAPE[net]), torch.arange(n) % 10
        if "channels_last" in mode:
            m, x = m.to(memory_format=torch.channels_last), x.to(memory_format=torch.channels_last)
        kw = {"fused": True} if "fused" in mode else {}
        o = torch.optim.SGD(m.parameters(), 1e-4, momentum=.9, **kw) if opt == "sgdm" else torch.optim.Adam(m.parameters(), 1e-4, **kw)

        def step(m=m, x=x, y=y, o=o):
            o.zero_grad(); torch.nn.functional.cross_entropy(m(x), y).backward(); o.step()
        steps[mode] = step
    return steps


def ort_step(model, n, threads):
    import numpy as np, onnxruntime as ort
    o = ort.SessionOptions(); o.intra_op_num_threads = threads; o.inter_op_num_threads = 1
    s = ort.InferenceSession(model, o, providers=["CPUExecutionProvider"])
    x = np.random.default_rng(0).standard_normal((n, *SHAPE[os.path.basename(model)[:-5]])).astype("f4")
    b = s.io_binding(); b.bind_cpu_input("x", x); b.bind_output(s.get_outputs()[0].name, "cpu")
    return lambda: s.run_with_iobinding(b)


def cell(a, binary, model, net, n, threads, opt, rounds):
    """Best of each over the rounds, all in one process."""
    peers = torch_steps(net, n, opt) if opt else {"onnxruntime": ort_step(model, n, threads)}
    best = {}
    for _ in range(rounds):
        now = {"pai-opt": ours(a.pai, model, n, threads, opt), "prims": prims(binary, net, n, threads, bool(opt))}
        now.update({k: timed(v, threads) for k, v in peers.items()})
        best = {k: min(v, best.get(k, 1e9)) for k, v in now.items()}
    return best


def run(a, threads):
    import torch
    torch.set_num_threads(threads)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        binary = os.path.join(folder, "prims")
        flags = a.cflags.split() if a.cflags else []
        subprocess.run(["gcc", "-O2", "-std=gnu17", "-fopenmp", "-Wno-stringop-overread", "-o", binary, os.path.join(HERE, "prims.c"), *flags, "-ldnnl"], check=True)
        for net in [*NETS, *DEMO]:
            model = export(net, folder) if net in NETS else export_demo(net, folder, a.pai)
            whats = (["sgdm", "adam"] if "train" in a.part and net in NETS else []) + ([""] if "infer" in a.part else [])
            for opt in whats:
                for n in map(int, a.batch.split(",")):
                    b = cell(a, binary, model, net, n, threads, opt, a.rounds)
                    peer = min(v for k, v in b.items() if k not in ("pai-opt", "prims"))
                    row = {"net": net, "what": opt or "infer", "batch": n, "threads": threads, **{k: round(v, 4) for k, v in b.items()},
                           "over_prims": round(b["pai-opt"] / b["prims"], 2), "peer_over_pai": round(peer / b["pai-opt"], 2)}
                    rows.append(row)
                    print(f"{net:8} {row['what']:6} b{n:<4} {threads} thr  pai-opt {b['pai-opt']:9.4f} ms  prims {b['prims']:9.4f} ({row['over_prims']:.2f}x)  "
                          f"best peer {peer:9.4f} ({row['peer_over_pai']:.2f}x of ours)", flush=True)
    return rows


if __name__ == "__main__":
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("pai"); p.add_argument("--threads", default="1"); p.add_argument("--batch", default="1,32,128")
    p.add_argument("--part", default="train,infer"); p.add_argument("--rounds", type=int, default=3); p.add_argument("--json"); p.add_argument("--cflags", help="of another oneDNN")
    a = p.parse_args()
    if "," in a.threads:    # the number of threads is set before the libraries start
        rest = [v for v in sys.argv[1:]]
        for t in a.threads.split(","):
            i = next(k for k, v in enumerate(rest) if v.startswith("--threads"))
            args = rest[:i] + [f"--threads={t}"] + rest[i + (1 if "=" in rest[i] else 2):]
            subprocess.run([sys.executable, __file__, *args], check=True, env=dict(os.environ, OMP_NUM_THREADS=t))
    else:
        rows = run(a, int(a.threads))
        if a.json:
            with open(a.json, "a") as f:
                f.writelines(json.dumps(r) + "\n" for r in rows)
