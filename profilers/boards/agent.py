"""Times the halves of a model on the machine it is copied to: one file, Python 3.8, PyTorch 1.13 or ONNX Runtime.

    python3 agent.py probe          what is here, as one line of JSON
    python3 agent.py run FOLDER     time what FOLDER/job.json lists; FOLDER/result.json is always up to date

It reads and writes inside FOLDER only. Once it is done it waits for FOLDER to be taken away; where nobody has touched
FOLDER/alive for the job's `lease` seconds, it removes FOLDER itself.
"""

from __future__ import annotations

import abc
import glob
import importlib.util
import json
import os
import platform
import random
import shutil
import sys
import time
import types
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple  # noqa: UP035 - Python 3.8 runs this file

VERSION = 1
WARM_UP, MIN_ROUNDS, LATE_ROUNDS, MAX_ROUNDS = 2, 5, 3, 300
"""Rounds that are not counted; at least, where time is left; at least, where none is; at most."""

WIDTH = 0.02
"""Half width of every half's 90 % interval, as a share of the whole model's median, at which timing stops."""

NORMAL_95 = 1.6448536269514722
Step = Callable[..., Any]
Case = Tuple[Sequence[str], Sequence[Step], Sequence[Any]]  # noqa: UP006
"""What is timed in one go: a name a step, the steps (each takes what the one before returned), the first inputs."""

Samples = Dict[str, List[float]]  # noqa: UP006


# ---- timing: needs nothing but a clock -----------------------------------------------------------------------------


def interval(samples: Sequence[float]) -> tuple[float, float, float]:
    """Median and its distribution-free 90 % interval: the order statistics around rank n/2 ± 1.645·√n/2.

    Fewer than six samples cannot give 90 %: the interval is then their whole range.
    """
    ordered, n = sorted(samples), len(samples)
    reach = NORMAL_95 * n**0.5 / 2
    low = ordered[max(0, int((n / 2 - reach) // 1))]
    high = ordered[min(n - 1, -int((-n / 2 - reach) // 1))]
    middle = ordered[n // 2] if n % 2 else (ordered[n // 2 - 1] + ordered[n // 2]) / 2
    return middle, low, high


def time_cases(
    cases: Sequence[Case],
    clock: Callable[[], float],
    limit: float,
    width: float = WIDTH,
    told: Optional[Callable[[Samples, float], None]] = None,  # noqa: UP045
    finish: Callable[[], None] = lambda: None,
    warm_up: int = WARM_UP,
) -> Samples:
    """Seconds of every step, round by round: each round runs all cases once, in an order of its own.

    Args:
        cases: the first step of the first case is the whole model.
        clock: seconds, monotonic.
        limit: stop after so many seconds, though not before `LATE_ROUNDS` rounds.
        width: stop when the interval of every step but the pieces' is narrower, as a share of the whole's median.
        told: given the samples so far and the share of the limit that is used, after the warm-up and every round.
        finish: waits until the accelerator is done; called before each stamp.
        warm_up: rounds that are not counted, cut short when they take long.
    """
    samples: Samples = {name: [] for names, _, _ in cases for name in names}
    order, shuffled, start = list(cases), random.Random(0), clock()
    for _ in range(warm_up):
        for case in order:
            _run(case, clock, finish)
        if clock() - start > limit / (2 * MIN_ROUNDS):
            break
    if told:
        told(samples, 0.0)
    for done in range(1, MAX_ROUNDS + 1):
        shuffled.shuffle(order)
        for case in order:
            for name, seconds in zip(case[0], _run(case, clock, finish)):  # noqa: B905 - Python 3.8
                samples[name].append(seconds)
        used = (clock() - start) / limit
        if told:
            told(samples, min(1.0, used))
        if (used >= 1 and done >= LATE_ROUNDS) or (done >= MIN_ROUNDS and _narrow(samples, cases[0][0][0], width)):
            break
    return samples


def _run(case: Case, clock: Callable[[], float], finish: Callable[[], None]) -> list[float]:
    """Seconds of each step; stamps lie back to back, so that freeing memory is part of the work."""
    _, steps, carried = case
    stamps = [clock()]
    for step in steps:
        result = step(*carried)
        carried = result if isinstance(result, (tuple, list)) else (result,)
        finish()
        stamps.append(clock())
    return [stamps[i + 1] - stamps[i] for i in range(len(steps))]


def _narrow(samples: Samples, whole: str, width: float) -> bool:
    allowed = 2 * width * interval(samples[whole])[0]
    halves = (values for name, values in samples.items() if not name.startswith("piece"))
    return all(high - low <= allowed for _, low, high in map(interval, halves))


# ---- what is here --------------------------------------------------------------------------------------------------


def probe() -> dict[str, Any]:
    """Versions and hardware of this machine; a library that is missing or broken is null, with the reason."""
    found: dict[str, Any] = {
        "agent": VERSION,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "board": _board(),
        "cores": os.cpu_count(),
        "memory": _memory(),
        "free": shutil.disk_usage(os.path.dirname(os.path.abspath(__file__))).free,
        "torch": None,
        "onnxruntime": None,
        "missing": {},
    }
    try:
        import torch

        found["torch"] = str(torch.__version__)
        found["cuda"] = torch.cuda.get_device_name(0) if torch.cuda.is_available() else None
    except Exception as error:  # noqa: BLE001 - boards have half-installed libraries: the host is told which
        found["missing"]["torch"] = _line(error)
    try:
        import onnxruntime

        found["onnxruntime"] = str(onnxruntime.__version__)
        found["providers"] = list(onnxruntime.get_available_providers())
    except Exception as error:  # noqa: BLE001
        found["missing"]["onnxruntime"] = _line(error)
    return found


def _board() -> str:
    for path in ("/proc/device-tree/model", "/sys/devices/virtual/dmi/id/product_name"):
        text = _read(path).strip("\0 \n")
        if text:
            return text
    names = [line.partition(":")[2].strip() for line in _read("/proc/cpuinfo").splitlines() if "model name" in line]
    return names[0] if names else platform.processor() or platform.machine()


def _memory() -> Optional[int]:  # noqa: UP045
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def clocks() -> list[float]:
    """Present clock of each core in hertz, as the kernel tells; empty where it does not."""
    files = sorted(glob.glob("/sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_cur_freq"))
    found = [float(_read(path)) * 1e3 for path in files if _read(path).strip().isdecimal()]
    if not found:
        lines = _read("/proc/cpuinfo").splitlines()
        found = [float(line.partition(":")[2]) * 1e6 for line in lines if line.startswith("cpu MHz")]
    return found


def _governor() -> str:
    return _read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor").strip()


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def _line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return type(error).__name__ + (": " + lines[0][:300] if lines else "")


# ---- runtimes ------------------------------------------------------------------------------------------------------


class Runtime(abc.ABC):
    """Cases of a job, and how to wait for the accelerator; `facts` is what a reader of the numbers must know."""

    def __init__(self) -> None:
        self.facts: dict[str, Any] = {}

    @abc.abstractmethod
    def cases(self, job: dict[str, Any], folder: str) -> list[Case]:
        """The whole model first, then each cut's halves, then the chain of pieces."""

    def finish(self) -> None:  # noqa: B027 - a processor leaves nothing to wait for
        """Wait until the accelerator is done."""


class Torch(Runtime):
    """TorchScript pieces, each weight once; halves are chains of them, run without the optimiser, as eager runs."""

    def __init__(self, job: dict[str, Any]) -> None:
        import torch

        super().__init__()
        self.torch = torch
        torch.set_grad_enabled(False)
        if job.get("threads"):
            torch.set_num_threads(int(job["threads"]))
        wanted = job.get("on") or ("cuda" if torch.cuda.is_available() else "cpu")
        self.where = torch.device(wanted)
        torch._C._set_graph_executor_optimize(False)
        self.facts = {
            "runtime": "pytorch-eager",
            "version": str(torch.__version__),
            "on": wanted,
            "threads": torch.get_num_threads(),
        }

    def cases(self, job: dict[str, Any], folder: str) -> list[Case]:
        """Halves are put together here, over the pieces that were sent."""
        pieces = self._load(job, folder)
        inputs = tuple(self._input(spec) for spec in job["inputs"])
        carried = [inputs]
        for piece in pieces:
            result = piece(*carried[-1])
            carried.append(tuple(result) if isinstance(result, (tuple, list)) else (result,))
        last, whole = len(pieces), self._ready(pieces, inputs)
        found: list[Case] = [(["whole"], [whole], inputs)]
        for i in range(1, last):
            steps = [self._ready(pieces[:i], inputs), self._ready(pieces[i:], carried[i])]
            found.append((["edge:%d" % i, "cloud:%d" % i], steps, inputs))  # noqa: UP031
        steps = self._alone(pieces, carried)
        return [*found, (["piece:%d" % (i + 1) for i in range(last)], steps, inputs)]  # noqa: UP031

    def _load(self, job: dict[str, Any], folder: str) -> list[Any]:
        torch: Any = self.torch
        return [torch.jit.load(os.path.join(folder, name), map_location=self.where) for name in job["pieces"]]

    def _ready(self, pieces: Sequence[Any], inputs: tuple[Any, ...]) -> Any:
        torch: Any = self.torch
        return torch.jit.trace(self._chain(pieces), inputs, check_trace=False)

    def _alone(self, pieces: Sequence[Any], carried: Sequence[Any]) -> list[Any]:
        return list(pieces)

    def _chain(self, pieces: Sequence[Any]) -> Any:
        torch = self.torch

        class Chain(torch.nn.Module):  # type: ignore[name-defined,misc]
            def __init__(self) -> None:
                super().__init__()
                self.parts = torch.nn.ModuleList(pieces)

            def forward(self, *carried: Any) -> Any:
                result: Any = carried
                for part in self.parts:
                    result = part(*(result if isinstance(result, (tuple, list)) else (result,)))
                return result

        return Chain().eval()

    def _input(self, spec: dict[str, Any]) -> Any:
        torch = self.torch
        kind = getattr(torch, spec["dtype"])
        noise = torch.rand(spec["shape"], generator=torch.Generator().manual_seed(0))
        value = noise.to(kind) if kind.is_floating_point else torch.zeros(spec["shape"], dtype=kind)
        return value.to(self.where)

    def finish(self) -> None:
        """Wait for the GPU."""
        if self.where.type == "cuda":
            self.torch.cuda.synchronize(self.where)


class Compiled(Torch):
    """Pieces as Python source over one file of weights; whole, halves and pieces are compiled, each by itself."""

    def __init__(self, job: dict[str, Any]) -> None:
        super().__init__(job)
        self.facts["runtime"] = "torch-compile"

    def _load(self, job: dict[str, Any], folder: str) -> list[Any]:
        torch = self.torch
        path = os.path.join(folder, job["source"])
        spec: Any = importlib.util.spec_from_file_location("advisor_pieces", path)
        source: Any = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(source)
        holder = torch.nn.Module()
        for name, value in torch.load(os.path.join(folder, job["weights"]), map_location=self.where).items():
            *path_to, last = name.split(".")
            place = holder
            for part in path_to:
                if not hasattr(place, part):
                    place.add_module(part, torch.nn.Module())
                place = getattr(place, part)
            place.register_buffer(last, value)
        return [self._piece(holder, getattr(source, name)) for name in job["pieces"]]

    def _piece(self, holder: Any, function: Callable[..., Any]) -> Any:
        class Piece(self.torch.nn.Module):  # type: ignore[name-defined,misc]
            def __init__(self) -> None:
                super().__init__()
                self.holder = holder

            def forward(self, *carried: Any) -> Any:
                return function(self.holder, *carried)

        return Piece().eval()

    def _ready(self, pieces: Sequence[Any], inputs: tuple[Any, ...]) -> Any:
        chain = self._chain(pieces)
        plain = type(chain).forward
        # Compiled code is kept with the bytecode: were it shared, each half would be looked for among all of them.
        own = types.FunctionType(plain.__code__.replace(), plain.__globals__, "forward", None, plain.__closure__)
        type(chain).forward = own
        compiled = self.torch.compile(chain, fullgraph=True, dynamic=False)
        compiled(*inputs)  # compiling is not timed
        return compiled

    def _alone(self, pieces: Sequence[Any], carried: Sequence[Any]) -> list[Any]:
        return [self._ready([piece], given) for piece, given in zip(pieces, carried)]  # noqa: B905 - Python 3.8


class Onnx(Runtime):
    """ONNX halves that share one file of weights, in the first provider that is there: TensorRT, CUDA, CPU."""

    PREFERRED = ("TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider")

    def __init__(self, job: dict[str, Any]) -> None:
        import numpy
        import onnxruntime

        super().__init__()
        self.numpy, self.library = numpy, onnxruntime
        self.options = onnxruntime.SessionOptions()
        self.options.log_severity_level = 3
        # Every half is a session with threads of its own: those of one must not spin while another is timed.
        self.options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self.options.intra_op_num_threads = int(job.get("threads") or 0)
        present = onnxruntime.get_available_providers()
        wanted = (job["on"],) if job.get("on") else self.PREFERRED
        self.providers = [name for name in wanted if name in present]
        if not self.providers:
            raise ValueError("onnxruntime has none of the providers " + ", ".join(wanted))
        self.facts = {
            "runtime": "onnxruntime",
            "version": str(onnxruntime.__version__),
            "on": self.providers[0],
            "threads": int(job.get("threads") or 0) or os.cpu_count(),
        }

    def cases(self, job: dict[str, Any], folder: str) -> list[Case]:
        """One session a half and a piece."""
        inputs = tuple(self._input(spec) for spec in job["inputs"])
        found: list[Case] = [(["whole"], [self._session(folder, job["whole"])], inputs)]
        for i, (edge, cloud) in sorted((int(k), pair) for k, pair in job["halves"].items()):
            steps = [self._session(folder, edge), self._session(folder, cloud)]
            found.append((["edge:%d" % i, "cloud:%d" % i], steps, inputs))  # noqa: UP031
        steps = [self._session(folder, name) for name in job["pieces"]]
        return [*found, (["piece:%d" % (i + 1) for i in range(len(steps))], steps, inputs)]  # noqa: UP031

    def _session(self, folder: str, name: str) -> Step:
        session = self.library.InferenceSession(
            os.path.join(folder, name), sess_options=self.options, providers=self.providers
        )
        names = [entry.name for entry in session.get_inputs()]

        def step(*values: Any) -> Any:
            return session.run(None, dict(zip(names, values)))  # noqa: B905 - Python 3.8

        return step

    def _input(self, spec: dict[str, Any]) -> Any:
        kind = self.numpy.dtype(spec["dtype"])
        noise = self.numpy.random.RandomState(0).uniform(size=spec["shape"])
        return noise.astype(kind) if kind.kind == "f" else self.numpy.zeros(spec["shape"], kind)


RUNTIMES = {"pytorch-eager": Torch, "torch-compile": Compiled, "onnxruntime": Onnx}


# ---- a job -----------------------------------------------------------------------------------------------------


def run(folder: str) -> int:
    """Time FOLDER/job.json; whatever happens is said in FOLDER/result.json."""
    path = os.path.join(folder, "agent.pid")
    try:
        with open(path, "x", encoding="ascii") as file:
            file.write(str(os.getpid()))
    except FileExistsError:
        return 0  # asked twice, as the first answer was lost on the way
    result: dict[str, Any] = {"agent": VERSION, "state": "loading", "started": clocks(), "governor": _governor()}
    try:
        with open(os.path.join(folder, "job.json"), encoding="utf-8") as file:
            job = json.load(file)
        _save(folder, result)
        _timed(job, folder, result)
        result["state"] = "done"
    except MemoryError as error:
        result.update(state="memory", why=_line(error))
    except Exception as error:  # noqa: BLE001 - this process ends here: the host is told why
        text = str(error).lower()
        short = "out of memory" in text or "allocate memory" in text or "alloc" in text
        result.update(state="memory" if short else "failed", why=_line(error))
    _save(folder, result)
    _wait(folder, float(job.get("lease", 600.0)) if "job" in locals() else 600.0)
    return 0


def _timed(job: dict[str, Any], folder: str, result: dict[str, Any]) -> None:
    runtime = RUNTIMES[job["runtime"]](job)
    result.update(runtime.facts)
    cases = runtime.cases(job, folder)
    _save(folder, result)
    begun = 0.0

    def told(samples: Samples, share: float) -> None:
        nonlocal begun
        if not samples["whole"]:
            begun = time.perf_counter()
            return
        wall = time.perf_counter() - begun
        result.update(state="timing", share=share, rounds=len(samples["whole"]), wall=wall)
        result["busy"] = sum(sum(values) for values in samples.values())
        result["times"] = {name: interval(values) for name, values in samples.items()}
        result["pieces"] = interval([sum(row) for row in zip(*_pieces(samples))])  # noqa: B905
        _save(folder, result)

    time_cases(cases, time.perf_counter, float(job["limit"]), float(job.get("width", WIDTH)), told, runtime.finish)
    result["ended"] = clocks()


def _pieces(samples: Samples) -> list[list[float]]:
    return [values for name, values in samples.items() if name.startswith("piece:")]


def _save(folder: str, result: dict[str, Any]) -> None:
    """Whole or not at all: the host may read at any time."""
    fresh = os.path.join(folder, "result.json.new")
    with open(fresh, "w", encoding="utf-8") as file:
        json.dump(result, file)
    os.replace(fresh, os.path.join(folder, "result.json"))


def _wait(folder: str, lease: float) -> None:
    """Until the host has taken the folder away; a host that never comes back leaves nothing behind."""
    alive = os.path.join(folder, "alive")
    while os.path.isdir(folder):
        try:
            if time.time() - os.path.getmtime(alive) > lease:
                shutil.rmtree(folder, ignore_errors=True)
        except OSError:
            return
        time.sleep(1.0)


def main(arguments: list[str]) -> int:
    """Entry point on the device."""
    if arguments == ["probe"]:
        print(json.dumps(probe()))
        return 0
    if len(arguments) == 2 and arguments[0] == "run":
        return run(os.path.abspath(arguments[1]))  # "." itself could not be removed at the end
    sys.stderr.write("usage: agent.py probe | agent.py run FOLDER\n")
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
