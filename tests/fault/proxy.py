"""A TCP proxy that misbehaves as it is told, between a gateway and a daemon.

It runs on a thread of its own and may be told at any time what the network is
like from now on, for the connections that are there and those that come.
"""

import asyncio
import contextlib
import dataclasses
import socket
import struct
import threading

_BLOCK_BYTES = 16 << 10
# What waits in the proxy for a slow way, each direction; then TCP pushes back.
_QUEUE_BLOCKS = 64
# RST instead of FIN.
_LINGER_OFF = struct.pack("ii", 1, 0)


@dataclasses.dataclass
class Way:
    """One direction of the network."""

    delay_s: float = 0
    # 0: no limit.
    bytes_per_s: float = 0
    stalled: bool = False
    # Swallowed: TCP acknowledges it and nobody ever sees it.
    lost: bool = False


class _Connection:
    """Two sockets and what flows between them."""

    def __init__(self, proxy, client):
        self._proxy = proxy
        self._client = client
        self._server = None
        self.ended = asyncio.Event()

    async def run(self):
        loop = asyncio.get_running_loop()
        self._server = socket.socket()
        self._server.setblocking(False)
        try:
            await loop.sock_connect(self._server, self._proxy.target())
            ways = [self._flow(self._client, self._server, self._proxy.up),
                    self._flow(self._server, self._client, self._proxy.down)]
            flows = [asyncio.ensure_future(way) for way in ways]
            ending = asyncio.ensure_future(self.ended.wait())
            await asyncio.wait([*flows, ending],
                               return_when=asyncio.FIRST_COMPLETED)
            if (not self.ended.is_set() and not self._proxy.swallow_ends):
                # What is on its way still gets there.
                await asyncio.wait([*flows, ending], timeout=1)
            if self._proxy.swallow_ends:
                await ending
            for task in (*flows, ending):
                task.cancel()
            await asyncio.gather(*flows, ending, return_exceptions=True)
        except OSError:
            pass
        finally:
            self.close()

    def close(self):
        for end in (self._client, self._server):
            if end is not None:
                end.close()

    def reset(self):
        for end in (self._client, self._server):
            if end is not None:
                with contextlib.suppress(OSError):
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                   _LINGER_OFF)
        self.ended.set()

    async def _flow(self, source, sink, way):
        """Reads as the peer sends, and passes on as the way allows."""
        blocks = asyncio.Queue(_QUEUE_BLOCKS)
        passing = asyncio.ensure_future(self._pass_on(blocks, sink, way))
        loop = asyncio.get_running_loop()
        try:
            while True:
                data = await loop.sock_recv(source, _BLOCK_BYTES)
                await blocks.put((loop.time(), data))
                if not data:
                    break
            await passing
        except OSError:
            pass
        finally:
            passing.cancel()
            await asyncio.gather(passing, return_exceptions=True)

    async def _pass_on(self, blocks, sink, way):
        loop = asyncio.get_running_loop()
        while True:
            came, data = await blocks.get()
            await self._proxy.wait_while_stalled(way)
            if way.delay_s:
                await asyncio.sleep(came + way.delay_s - loop.time())
            if not data:
                if not self._proxy.swallow_ends:
                    sink.shutdown(socket.SHUT_WR)
                return
            if way.lost:
                continue
            if way.bytes_per_s:
                await asyncio.sleep(len(data) / way.bytes_per_s)
            await loop.sock_sendall(sink, data)
            self._proxy.passed_bytes += len(data)


class Proxy:
    """Listens on a port of its own; `target()` is asked for each connection.

    Args:
      target: gives (host, port) of the daemon as it is now.
    """

    def __init__(self, target):
        self.target = target
        self.up = Way()
        self.down = Way()
        # The end of a connection is told to nobody: half of it stays open.
        self.swallow_ends = False
        self.accepted = 0
        self.refused = 0
        self.passed_bytes = 0
        self._refusing = False
        self._connections = set()
        self._tasks = set()
        self._changed = None
        self._loop = asyncio.new_event_loop()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setblocking(False)
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._ready = threading.Event()
        self._thread.start()
        self._ready.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    def _run(self):
        asyncio.set_event_loop(self._loop)
        self._changed = asyncio.Event()
        self._accepting = self._loop.create_task(self._accept())
        self._ready.set()
        self._loop.run_forever()
        for task in (self._accepting, *self._tasks):
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(
            self._accepting, *self._tasks, return_exceptions=True))
        self._listener.close()
        self._loop.close()

    async def _accept(self):
        loop = asyncio.get_running_loop()
        while True:
            client, _ = await loop.sock_accept(self._listener)
            client.setblocking(False)
            if self._refusing:
                self.refused += 1
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                  _LINGER_OFF)
                client.close()
                continue
            self.accepted += 1
            connection = _Connection(self, client)
            self._connections.add(connection)
            task = loop.create_task(connection.run())
            self._tasks.add(task)
            task.add_done_callback(
                lambda done, c=connection: self._forget(done, c))

    def _forget(self, task, connection):
        self._tasks.discard(task)
        self._connections.discard(connection)

    async def wait_while_stalled(self, way):
        while way.stalled:
            changed = self._changed
            await changed.wait()

    def _do(self, action):
        """Runs `action` on the loop's thread and waits for it."""
        done = threading.Event()

        def run():
            action()
            # Whoever waits for a change looks again.
            self._changed.set()
            self._changed = asyncio.Event()
            done.set()
        self._loop.call_soon_threadsafe(run)
        done.wait()

    # ---- What the network is like from now on ----

    def heal(self):
        """As it should be. Connections that are broken stay so."""
        def act():
            for way in (self.up, self.down):
                way.delay_s = way.bytes_per_s = 0
                way.stalled = way.lost = False
            self.swallow_ends = self._refusing = False
        self._do(act)

    def delay(self, seconds):
        """Each way."""
        def act():
            self.up.delay_s = self.down.delay_s = seconds
        self._do(act)

    def limit(self, bytes_per_s):
        def act():
            self.up.bytes_per_s = bytes_per_s
        self._do(act)

    def stall(self, up=True, down=True):
        """Nothing moves, and nothing is lost."""
        def act():
            self.up.stalled, self.down.stalled = up, down
        self._do(act)

    def half_open(self):
        """Takes everything and passes on nothing, not even an end."""
        def act():
            self.up.lost = self.down.lost = True
            self.swallow_ends = True
        self._do(act)

    def reset(self):
        """Ends what is there; new connections are welcome."""
        def act():
            for connection in list(self._connections):
                connection.reset()
        self._do(act)

    def cut(self):
        """Ends what is there and refuses what comes, until heal()."""
        def act():
            self._refusing = True
            for connection in list(self._connections):
                connection.reset()
        self._do(act)

    def close(self):
        if self._loop.is_closed():
            return
        self._do(lambda: [c.reset() for c in list(self._connections)])
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()


def profile_through(profile, proxy, folder):
    """A copy of a profile folder, whose archive is reached by the proxy."""
    import json
    import shutil
    shutil.copytree(profile, folder)
    path = folder / "profile.json"
    settings = json.loads(path.read_text())
    settings["ingest_address"] = proxy.address
    settings["archive_dir"] = ""
    path.write_text(json.dumps(settings))
    return folder
