"""Carries Ethernet frames between two interfaces and keeps each for a while: a long way between two network namespaces.

`delay.py ONE OTHER MILLISECONDS` says "ready" when it carries. It keeps the order, loses nothing that its sockets
hold (4 MiB each), and is as late as Python and the scheduler are: a millisecond or two. It ends when its input does.
The kernel's netem would do the same, but not every kernel has it.
"""

import collections
import select
import socket
import sys
import time

ALL_PROTOCOLS = 3  # ETH_P_ALL of linux/if_ether.h
SOL_PACKET, IGNORE_OUTGOING = 263, 23  # of linux/socket.h and linux/if_packet.h
RECEIVE_BUFFER_FORCE = 33  # of asm-generic/socket.h
ROOM = 4 << 20
FRAME = 65536


def interface(name):
    """A socket that hears what comes in there and no more."""
    end = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    end.setsockopt(SOL_PACKET, IGNORE_OUTGOING, 1)
    end.setsockopt(socket.SOL_SOCKET, RECEIVE_BUFFER_FORCE, ROOM)
    end.bind((name, ALL_PROTOCOLS))
    end.setblocking(False)
    return end


one, other = interface(sys.argv[1]), interface(sys.argv[2])
delay = float(sys.argv[3]) / 1000
across = {one: other, other: one}
waiting = collections.deque()
print("ready", flush=True)
while True:
    now = time.monotonic()
    while waiting and waiting[0][0] <= now:
        _, end, frame = waiting.popleft()
        try:
            end.send(frame)
        except OSError:
            pass  # the namespaces are being taken away
    ready, _, _ = select.select([one, other, sys.stdin], [], [], waiting[0][0] - now if waiting else None)
    now = time.monotonic()
    if sys.stdin in ready:
        break
    for end in ready:
        while True:
            try:
                waiting.append((now + delay, across[end], end.recv(FRAME)))
            except BlockingIOError:
                break
