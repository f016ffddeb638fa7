"""Statements about connections, datagrams and pipes. A pair has two ends: the loop uses the near
end, and the scenario reads and writes the far end itself, without waiting.

The kernel reports descriptors that are ready at one time in an order of its own. A scenario has
one descriptor in the loop, so that this order cannot show in its trace.
"""

import asyncio
import errno
import fcntl
import os
import socket
from asyncio import selector_events, unix_events

from operations import UNSET

SMALL = 4096  # size of the kernel's buffer between two ends, in bytes
CYCLE = b'abcde\nfgh\nijklmnopqrs;t\nuv'


def repair():
    """Mends faults of CPython 3.13 that would show in traces."""

    def only_with_loop(kind, name):
        method = getattr(kind, name)

        def checked(transport, *args):
            if transport._loop is not None:
                method(transport, *args)

        setattr(kind, name, checked)

    datagrams = selector_events._SelectorDatagramTransport
    # get_write_buffer_size() of 3.13.0 adds a header for each datagram, and never subtracts it; it
    # also counts the datagrams of a lost transport.
    header = getattr(datagrams, '_header_size', 8)
    datagrams.get_write_buffer_size = lambda transport: 0 if transport._loop is None else sum(
        len(data) + header for data, _ in transport._buffer)
    # An aborted transport is still watched for sending after its last datagram failed.
    only_with_loop(datagrams, '_sendto_ready')
    # A transport that is closed in resume_writing() loses its connection twice.
    only_with_loop(selector_events._SelectorTransport, '_call_connection_lost')
    only_with_loop(unix_events._UnixWritePipeTransport, '_call_connection_lost')
    # abort() fails on a connection that was lost when its last bytes were sent.
    only_with_loop(selector_events._SelectorTransport, '_force_close')
    # A pipe that is closed in connection_made() is watched from then on, though closed.
    only_with_loop(unix_events._UnixWritePipeTransport, '_read_ready')


class Pair:
    """`near`: a socket or file for the loop. `far`: the scenario's own end; None once closed."""

    def __init__(self, kind):
        self.kind = kind
        if kind in ('stream', 'dgram'):
            if kind == 'stream':
                self.near, self.far = socket.socketpair()
            else:  # CPython takes a nameless peer for no connection
                self.near, self.far = (socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in '12')
                self.near.bind('')
                self.far.bind('')
                self.near.connect(self.far.getsockname())
                self.far.connect(self.near.getsockname())
            for end in (self.near, self.far):
                end.setblocking(False)
                end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL)
            self.far_fd = self.far.fileno()
        else:
            read, write = os.pipe()
            fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, SMALL)
            os.set_blocking(read, False)
            os.set_blocking(write, False)
            near, self.far_fd = (read, write) if kind == 'rpipe' else (write, read)
            self.near = os.fdopen(near, 'rb' if kind == 'rpipe' else 'wb', buffering=0)
            self.far = os.fdopen(self.far_fd, 'wb' if kind == 'rpipe' else 'rb', buffering=0)
        self.used = None  # who uses the near end: a 'transport' or 'socket' statements
        self.waits = []  # the waits under way, by direction
        self.transport = None
        self.reader = None
        self.writer = None
        self.sent = 0  # bytes that both ends have sent of CYCLE

    def data(self, size):
        start = self.sent % len(CYCLE)
        self.sent += size
        return (CYCLE[start:] + CYCLE * (size // len(CYCLE) + 1))[:size]

    def close(self, loop):
        if loop.is_closed() or self.transport is None or self.transport._loop is None:
            self.near.close()
        elif self.kind == 'rpipe':
            self.transport.close()
        else:
            self.transport.abort()
        if self.far is not None:
            self.far.close()


def digest(data):
    """The length of the data, and a checksum."""
    total = 0
    for byte in bytes(data):
        total = (total * 31 + byte) % 9973
    return f'{len(data)}:{total}'


class Closed(asyncio.Future):
    """The future of wait_closed(), shielded: in CPython cancelling one waiter cancels them all."""

    def __init__(self, loop):
        super().__init__(loop=loop)
        self._waiting = []

    def __await__(self):
        if self.done():
            return super().__await__()
        waiter = self.get_loop().create_future()
        self._waiting.append(waiter)
        return waiter.__await__()

    def set_result(self, result):
        super().set_result(result)
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_result(result)

    def set_exception(self, error):
        super().set_exception(error)
        self.exception()
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_exception(error)


class Protocol:
    """Logs the events of a protocol, and runs the action that the scenario gives for each."""

    def __init__(self, run, pair, name):
        self.run = run
        self.pair = pair
        self.label = f'{name}#{run.count(name)}'
        self.keep, self.actions = run.protocols[name]

    def note(self, event, text):
        if self.run.over:
            return
        self.run.log(self.label, 0, text)
        if event in self.actions:
            action = self.run.scheduled_action(self.actions[event])
            if action is not None:
                action()

    def connection_made(self, transport):
        self.pair.transport = transport
        self.note('made', 'made')

    def connection_lost(self, error):
        if isinstance(error, BrokenPipeError) and not error.args:  # of a pipe
            error = BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
        self.note('lost', f'lost {self.run.value(error)}')

    def pause_writing(self):
        self.note('pause', 'pause')

    def resume_writing(self):
        self.note('resume', 'resume')


class Stream(Protocol, asyncio.Protocol):
    def data_received(self, data):
        self.note('data', f'data {digest(data)}')

    def eof_received(self):
        self.note('eof', 'eof')
        return self.keep == 'keep'


class Buffered(Protocol, asyncio.BufferedProtocol):
    def __init__(self, run, pair, name, size):
        super().__init__(run, pair, name)
        self.memory = bytearray(size)

    def get_buffer(self, sizehint):
        return self.memory

    def buffer_updated(self, count):
        self.note('data', f'updated {digest(self.memory[:count])}')

    def eof_received(self):
        self.note('eof', 'eof')
        return self.keep == 'keep'


class Datagram(Protocol, asyncio.DatagramProtocol):
    def datagram_received(self, data, addr):
        self.note('data', f'datagram {digest(data)}')

    def error_received(self, error):
        self.note('eof', f'error {self.run.value(error)}')


def make_protocol(run, pair, name):
    if pair.kind == 'dgram':
        return Datagram(run, pair, name)
    if pair.kind != 'stream':  # CPython has no buffered protocols for pipes
        return Stream(run, pair, name)
    if run.protocols[name][0].startswith('buffer'):
        return Buffered(run, pair, name, int(run.protocols[name][0][6:]))
    return Stream(run, pair, name)


# Declarations.

def make_pair(run, args):
    run.pairs[args[0]] = Pair(args[1])


def make_proto(run, args):
    run.protocols[args[0]] = args[1], dict(word.split(':') for word in args[2:])


# Statements that do not wait.

def on_transport(function):
    """A statement about the transport of a pair."""
    def operation(run, args):
        pair = run.pairs.get(args[0])
        if pair is None or pair.transport is None:
            return UNSET
        return function(pair, pair.transport, [int(word) if word != '-' else None
                                               for word in args[1:]])

    return operation


def on_stream(function):
    """A statement about a byte transport: datagram transports have no such method."""
    def of_stream(pair, transport, args):
        return UNSET if pair.kind == 'dgram' else function(pair, transport, args)

    return on_transport(of_stream)


def on_writer(function):
    """A statement about a transport that can write."""
    def of_writer(pair, transport, args):
        return UNSET if pair.kind in ('dgram', 'rpipe') else function(pair, transport, args)

    return on_transport(of_writer)


def on_reader(function):
    def of_reader(pair, transport, args):
        return UNSET if pair.kind in ('dgram', 'wpipe') else function(pair, transport, args)

    return on_transport(of_reader)


def gone(transport):
    """True if the connection is lost without an error. CPython's writes then fail: a fault."""
    return transport._loop is None and not getattr(transport, '_eof', False)


def write(pair, transport, args):
    if pair.kind == 'rpipe':
        return UNSET
    if gone(transport):
        pair.data(args[0])
        return None
    send = transport.sendto if pair.kind == 'dgram' else (pair.writer or transport).write
    return send(pair.data(args[0]))


def write_lines(pair, transport, args):
    """Writes as Python before 3.12 and after 3.13.0 does: 3.13.0 raises an error if the list is
    empty or the connection lost."""
    pieces = [pair.data(size) for size in args]
    if gone(transport):
        return None
    return (pair.writer or transport).write(b''.join(pieces))


def limits(pair, transport, args):
    return UNSET if pair.kind == 'rpipe' else transport.set_write_buffer_limits(*args)


def size(pair, transport, args):
    return UNSET if pair.kind == 'rpipe' else transport.get_write_buffer_size()


def marks(pair, transport, args):
    return UNSET if pair.kind == 'rpipe' else list(transport.get_write_buffer_limits())


def abort(pair, transport, args):
    if pair.kind == 'rpipe':
        return UNSET
    # Faults of CPython: abort() fails on a lost pipe, and loses a closing pipe a second time.
    if pair.kind == 'wpipe' and (transport._loop is None or transport.is_closing()
                                 and not transport.get_write_buffer_size()):
        return None
    return transport.abort()


def set_protocol(run, args):
    pair = run.pairs.get(args[0])
    if pair is None or pair.transport is None or pair.reader is not None:
        return UNSET
    pair.transport.set_protocol(make_protocol(run, pair, args[1]))


def at_far_end(function):
    """A statement about the far end: system calls, whose errors are logged by name."""
    def operation(run, args):
        pair = run.pairs.get(args[0])
        if pair is None or pair.far is None:
            return UNSET
        try:
            return function(pair, *map(int, args[1:]))
        except OSError as error:
            return errno.errorcode[error.errno]

    return operation


def far_send(pair, size):
    if pair.kind == 'wpipe':
        return UNSET
    start = pair.sent
    try:
        count = os.write(pair.far_fd, pair.data(size))
    except OSError:
        pair.sent = start
        raise
    if pair.kind != 'dgram':
        pair.sent = start + count
    return count


def far_receive(pair, size):
    return UNSET if pair.kind == 'rpipe' else digest(os.read(pair.far_fd, size))


def far_shut(pair):
    return UNSET if pair.kind != 'stream' else pair.far.shutdown(socket.SHUT_WR)


def far_close(pair):
    pair.far.close()
    pair.far = None


def reader_at_eof(run, args):
    pair = run.pairs.get(args[0])
    return UNSET if pair is None or pair.reader is None else pair.reader.at_eof()


IMMEDIATE = {
    'pair': make_pair, 'proto': make_proto,
    'twrite': on_transport(write), 'twritelines': on_writer(write_lines),
    'teof': on_writer(lambda p, t, args: (p.writer or t).write_eof()),
    'tclose': on_transport(lambda p, t, args: (p.writer or t).close()),
    'tabort': on_transport(abort),
    'tpause': on_reader(lambda p, t, args: t.pause_reading()),
    'tresume': on_reader(lambda p, t, args: t.resume_reading()),
    'treading': on_reader(lambda p, t, args: t.is_reading()),
    'tclosing': on_transport(lambda p, t, args: t.is_closing()),
    'tlimits': on_transport(limits), 'tmarks': on_transport(marks), 'tsize': on_transport(size),
    'tcaneof': on_writer(lambda p, t, args: t.can_write_eof()),
    'tproto': set_protocol, 'rateof': reader_at_eof,
    'psend': at_far_end(far_send), 'precv': at_far_end(far_receive),
    'pshut': at_far_end(far_shut), 'pclose': at_far_end(far_close),
}


# Statements that may suspend.

def free_pair(run, name):
    """The pair, marked as used by a transport; None if it was in use already."""
    pair = run.pairs.get(name)
    if pair is None or pair.used is not None:
        return None
    pair.used = 'transport'
    return pair


async def connect(run, frame, statement):
    name, protocol, *how = statement.args
    pair = free_pair(run, name)
    if pair is None:
        return UNSET

    def factory():
        return make_protocol(run, pair, protocol)

    if pair.kind == 'dgram':
        making = run.loop.create_datagram_endpoint(factory, sock=pair.near)
    elif pair.kind == 'rpipe':
        making = run.loop.connect_read_pipe(factory, pair.near)
    elif pair.kind == 'wpipe':
        making = run.loop.connect_write_pipe(factory, pair.near)
    elif how:
        making = run.loop.connect_accepted_socket(factory, pair.near)
    else:
        making = run.loop.create_connection(factory, sock=pair.near)
    await making


async def open_(run, frame, statement):
    pair = run.pairs.get(statement.args[0])
    if pair is None or pair.kind != 'stream' or free_pair(run, statement.args[0]) is None:
        return UNSET
    limit = int(statement.args[1])
    pair.reader, pair.writer = await asyncio.open_connection(sock=pair.near, limit=limit)
    pair.transport = pair.writer.transport
    protocol = pair.transport.get_protocol()
    if not protocol._closed.done():
        protocol._closed = Closed(run.loop)


def on_open_writer(function):
    async def operation(run, frame, statement):
        pair = run.pairs.get(statement.args[0])
        return UNSET if pair is None or pair.writer is None else await function(pair.writer)

    return operation


def on_open_reader(function):
    """A read. Only one is allowed at a time: in CPython a read is never woken if it begins after
    another read was woken but before that other one has run. A read to the end of input that is cut
    short loses the bytes that had come."""
    async def operation(run, frame, statement):
        pair = run.pairs.get(statement.args[0])
        if pair is None or pair.reader is None or 'read' in pair.waits:
            return UNSET
        pair.waits.append('read')
        try:
            return digest(await function(pair.reader, *statement.args[1:]))
        except BaseException:
            if statement.args[1:] == ['-1']:
                run.log('-', 0, 'GIVEUP')
            raise
        finally:
            pair.waits.remove('read')

    return operation


def on_socket(direction, function):
    """A statement that uses the near end as a socket, which excludes a transport from then on.
    Only one is allowed at a time in each direction: in CPython a second one replaces the first."""
    async def operation(run, frame, statement):
        pair = run.pairs.get(statement.args[0])
        if (pair is None or pair.kind not in ('stream', 'dgram') or pair.used == 'transport'
                or direction in pair.waits):
            return UNSET
        pair.used = 'socket'
        pair.waits.append(direction)
        try:
            return await function(run, pair, int(statement.args[1]))
        finally:
            pair.waits.remove(direction)

    return operation


async def sock_recv(run, pair, size):
    return digest(await run.loop.sock_recv(pair.near, size))


async def sock_recvfrom(run, pair, size):
    return digest((await run.loop.sock_recvfrom(pair.near, size))[0])


async def sock_sendall(run, pair, size):
    return await run.loop.sock_sendall(pair.near, pair.data(size))


WAITING = {
    'connect': connect, 'open': open_,
    'rread': on_open_reader(lambda reader, n: reader.read(int(n))),
    'rexactly': on_open_reader(lambda reader, n: reader.readexactly(int(n))),
    'rline': on_open_reader(lambda reader: reader.readline()),
    'runtil': on_open_reader(lambda reader, separator: reader.readuntil(separator.encode())),
    'wdrain': on_open_writer(lambda writer: writer.drain()),
    'wclosed': on_open_writer(lambda writer: writer.wait_closed()),
    'lrecv': on_socket('in', sock_recv), 'lrecvfrom': on_socket('in', sock_recvfrom),
    'lsendall': on_socket('out', sock_sendall),
}
