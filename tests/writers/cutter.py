"""Between a client and a web server, as a process of its own: arguments are the server's host, port, and a mark.

It prints its port, and reads `before` or `after` from its input: the next request that has the mark in it is then delivered
or not, its answer never is, and `cut` is printed. For `count`, it prints how many requests there were with the mark.
"""

from __future__ import annotations

import socket
import sys
import threading
from contextlib import suppress

SERVER, MARK = (sys.argv[1], int(sys.argv[2])), sys.argv[3].encode()
armed: list[str] = []
seen: list[int] = []


def end(*sockets: socket.socket) -> None:
    for one in sockets:
        with suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)


def ask(client: socket.socket, server: socket.socket, cut: threading.Event) -> None:
    with suppress(OSError):
        while data := client.recv(1 << 16):
            seen.append(data.count(MARK))
            if armed and MARK in data:
                print("cut", flush=True)
                if armed.pop() == "before":
                    break
                cut.set()
            server.sendall(data)
    end(client, server)


def answer(server: socket.socket, client: socket.socket, cut: threading.Event) -> None:
    with suppress(OSError):
        while data := server.recv(1 << 16):
            if cut.is_set():
                break
            client.sendall(data)
    end(client, server)


def accept(listener: socket.socket) -> None:
    while True:
        client, _ = listener.accept()
        server, cut = socket.create_connection(SERVER), threading.Event()
        threading.Thread(target=ask, args=(client, server, cut), daemon=True).start()
        threading.Thread(target=answer, args=(server, client, cut), daemon=True).start()


if __name__ == "__main__":
    listener = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=accept, args=(listener,), daemon=True).start()
    print(listener.getsockname()[1], flush=True)
    for line in sys.stdin:
        if line.strip() == "count":
            print(sum(seen), flush=True)
            continue
        armed.append(line.strip())
        print("armed", flush=True)
