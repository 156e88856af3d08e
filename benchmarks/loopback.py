"""A split ResNet-18 over a real socket of limited bandwidth: end-to-end latency against the predicted.

OMP_NUM_THREADS=1 taskset -c 0 python benchmarks/loopback.py [cut]

Edge and cloud half run here, one after the other, as on two machines; between them the payload, packed by the
library's codec, goes through a TCP connection on loopback whose other end reads at the link's rate and answers half a
round trip later. Predicted is edge half + link + cloud half, each from the profile. Target: within 10 % at three
bandwidths. The limit: the medians of the halves are themselves known to a few per cent, and a half that has waited is
up to 2 ms slower than one timed directly after another. On one core, as a pause may end on another core: where
neighbours slow that one, whole requests took 40 % longer than the profile's (-15 % at 100 Mbps, unpinned). Last runs:
-0.9 and -1.9 % at 5 Mbps, -2.8 and -6.0 % at 20, -4.5 and -8.6 % at 100.
"""

from __future__ import annotations

import socket
import statistics
import struct
import sys
import threading
import time

import torch
from torchvision import models

import advisor
from advisor import profilers, wire

BANDWIDTHS, ROUND_TRIP, CHUNK = (5e6, 20e6, 100e6), 0.010, 4096
VISITS, REPEATS = 4, 7
"""How often profile and transfers take turns, as neighbours on a shared machine slow minutes of it; transfers each."""

LENGTH = struct.Struct("<Q")


class Link:
    """Sends bytes at a rate: a chunk leaves when the ones before it are through; half a round trip each way."""

    def __init__(self, bits_per_second: float) -> None:
        self.rate = bits_per_second
        listener = socket.create_server(("127.0.0.1", 0))
        self.near = socket.create_connection(listener.getsockname())
        self.far, _ = listener.accept()
        listener.close()
        for end in (self.near, self.far):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def carry(self, payload: bytes, upwards: bool = True) -> bytes:
        """What comes out at the other end."""
        source, target = (self.near, self.far) if upwards else (self.far, self.near)
        thread = threading.Thread(target=self._send, args=(source, payload))
        thread.start()
        received = _exactly(target, LENGTH.unpack(_exactly(target, LENGTH.size))[0])
        thread.join()
        return received

    def _send(self, end: socket.socket, payload: bytes) -> None:
        begun = time.perf_counter() + ROUND_TRIP / 2
        message = LENGTH.pack(len(payload)) + payload
        for start in range(0, len(message), CHUNK):
            chunk = message[start : start + CHUNK]
            _until(begun + 8 * (start + len(chunk)) / self.rate)
            end.sendall(chunk)

    def close(self) -> None:
        self.near.close()
        self.far.close()


def _until(moment: float) -> None:
    while (left := moment - time.perf_counter()) > 0:
        time.sleep(left)


def _exactly(end: socket.socket, count: int) -> bytes:
    parts, left = [], count
    while left:
        part = end.recv(min(left, 1 << 20))
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def end_to_end(edge: torch.nn.Module, cloud: torch.nn.Module, image: torch.Tensor, link: Link) -> float:
    """Seconds from the input to the answer back at the edge."""
    begun = time.perf_counter()
    with torch.no_grad():
        sent = link.carry(wire.pack([edge(image)]))
        answer = cloud(*wire.unpack_torch(sent))
        wire.unpack(link.carry(wire.pack([answer]), upwards=False))
    return time.perf_counter() - begun


def main(name: str = "layer2.1.relu#2") -> None:
    """Print measured, predicted and their ratio at each bandwidth."""
    graph = advisor.trace(models.resnet18(weights=None).eval(), torch.zeros(2, 3, 224, 224))
    cut, image = graph.cut(name), torch.rand(1, 3, 224, 224)
    edge, cloud = graph.split(cut)
    for rate in BANDWIDTHS:
        text = f"bandwidth={rate:g}bps,rtt={ROUND_TRIP}s"
        link, times, estimates = Link(rate), list[float](), list[float]()
        for _ in range(VISITS):
            profile = advisor.profile(graph, "local", text, "local", limit=6.0)
            estimates.append(profile["latency"].at(cut).value)
            times += [end_to_end(edge, cloud, image, link) for _ in range(REPEATS + 1)][1:]
        link.close()
        parts = profilers.transfer(profilers.link(text), cut.bytes, graph.cuts[-1].bytes)
        predicted, measured = statistics.median(estimates), statistics.median(times)
        spread = statistics.quantiles(times, n=10)
        print(
            f"{rate / 1e6:5.0f} Mbps, {cut.bytes / 1e3:.0f} kB: measured {measured * 1e3:6.1f} ms (middle 80 %: "
            f"{spread[0] * 1e3:.1f} to {spread[-1] * 1e3:.1f}), predicted {predicted * 1e3:6.1f} ms "
            f"({100 * (predicted / measured - 1):+.1f} %); packing {parts.serialisation * 1e3:.1f}, "
            f"up {parts.upload * 1e3:.1f}, round trip {parts.round_trip * 1e3:.1f}, down {parts.download * 1e3:.1f} ms"
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
