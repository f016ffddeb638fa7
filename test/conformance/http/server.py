"""A server that answers with the bytes of a case, and keeps the requests."""

import socket
import threading


class Server:
    """Two ports of 127.0.0.1, two origins, that share the answers of one case at a time."""

    def __init__(self):
        self.lock = threading.Lock()
        self.answers, self.requests, self.connections = [], [], []
        self.listeners = [socket.create_server(('127.0.0.1', 0)) for _ in 'AB']
        self.ports = [listener.getsockname()[1] for listener in self.listeners]
        for listener in self.listeners:
            threading.Thread(target=self.accept, args=[listener], daemon=True).start()

    def fill(self, data):
        """Replaces {A}, {B} and {L} (another name of {A}) by the addresses of the two ports."""
        for mark, host, port in ((b'{A}', 'a', 0), (b'{B}', 'b', 1), (b'{L}', 'l', 0)):
            name = 'localhost' if host == 'l' else '127.0.0.1'
            data = data.replace(mark, f'{name}:{self.ports[port]}'.encode())
        return data

    def unfill(self, text):
        """Replaces the addresses by {A}, {B} and {L}: ports differ from run to run."""
        return (text.replace(f'127.0.0.1:{self.ports[0]}', '{A}')
                .replace(f'127.0.0.1:{self.ports[1]}', '{B}')
                .replace(f'localhost:{self.ports[0]}', '{L}'))

    def begin(self, answers):
        with self.lock:
            self.answers, self.requests = list(answers), []

    def end(self):
        """Closes the open connections; returns the requests so far."""
        with self.lock:
            requests, connections = self.requests, self.connections
            self.connections = []
        for connection in connections:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        return requests

    def accept(self, listener):
        while True:
            connection, _ = listener.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self.lock:
                self.connections.append(connection)
            threading.Thread(target=self.serve, args=[connection], daemon=True).start()

    def serve(self, connection):
        with connection:
            try:
                stream = connection.makefile('rb')
                while True:
                    request = read_request(stream)
                    if request is None:
                        return
                    with self.lock:
                        self.requests.append(request)
                        # The last answer is for all further requests.
                        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
                    connection.sendall(self.fill(answer['bytes']))
                    if answer['close']:
                        return
            except OSError:
                pass


def read_request(stream):
    line = stream.readline().decode('latin1').rstrip('\r\n')
    if not line:
        return None
    fields = []
    while True:
        field = stream.readline().decode('latin1')
        if not field:
            return None
        field = field.rstrip('\r\n')
        if not field:
            break
        name, _, value = field.partition(':')
        fields.append((name.lower(), value.strip()))
    known = dict(fields)
    body = b''
    if 'chunked' in known.get('transfer-encoding', ''):
        while True:
            head = stream.readline()
            if not head:
                return None
            size = int(head, 16)
            body += stream.read(size)
            stream.readline()
            if size == 0:
                break
    elif known.get('content-length', '').isdigit():
        body = stream.read(int(known['content-length']))
    return line, fields, body.decode('latin1')
