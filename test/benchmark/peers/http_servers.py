"""The HTTP rows: servers on one processor, clients on another, in rounds that take turns.

    http_servers.py DIRECTORY      the directory of the programs http_*

Prints lines "work<TAB>who<TAB>median<TAB>low<TAB>high", nanoseconds per request.
"""
import os
import pathlib
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time

from processes import has, pin

SERVER_CONNECTIONS, SERVER_REQUESTS = 100, 50_000
CLIENT_CONNECTIONS, CLIENT_REQUESTS = 50, 20_000
ROUNDS = 7

here = pathlib.Path(__file__).parent
programs = pathlib.Path(sys.argv[1])
NGINX = '''
daemon off;
master_process off;
pid {scratch}/nginx.pid;
error_log {scratch}/nginx.log;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  keepalive_requests 1000000000;
  client_body_temp_path {scratch}/body;
  proxy_temp_path {scratch}/proxy;
  fastcgi_temp_path {scratch}/fastcgi;
  uwsgi_temp_path {scratch}/uwsgi;
  scgi_temp_path {scratch}/scgi;
  server {{
    listen 127.0.0.1:{port};
    location / {{ default_type text/plain; return 200 "hello"; }}
  }}
}}
'''


def nginx(scratch):
    """The command and the port, for a server that cannot choose a free port itself."""
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        port = probe.getsockname()[1]
    config = pathlib.Path(scratch) / 'nginx.conf'
    config.write_text(NGINX.format(scratch=scratch, port=port))
    return ['nginx', '-c', config, '-p', scratch], port


def commands(scratch):
    """The installed peers: name, commands of server and client, the server's port."""
    for name, who in (('epoll', 'epoll by hand'), ('', 'fiber'), ('beast', 'Boost.Beast')):
        prefix = f'http_{name}_' if name else 'http_'
        server, client = (programs / (prefix + part) for part in ('server', 'client'))
        if server.exists():
            yield who, [server], [client] if client.exists() else None, None
    if has('aiohttp'):
        python = [sys.executable, here / 'http_aiohttp.py']
        yield 'asyncio', python + ['server'], python + ['client'], None
        if has('uvloop'):
            python.append('uvloop')
            yield 'uvloop', python + ['server'], python + ['client'], None
    if shutil.which('go'):
        go = pathlib.Path(scratch) / 'http_go'
        if subprocess.run(['go', 'build', '-o', go, here / 'http.go']).returncode == 0:
            yield 'Go', [go, 'server'], [go, 'client'], None
    if shutil.which('nginx'):
        command, port = nginx(scratch)
        yield 'nginx', command, None, port


def start(command, port):
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True,
                              env={**os.environ, 'GOMAXPROCS': '1'}, preexec_fn=lambda: pin(0))
    server.port = port or server.stdout.readline().strip()
    for _ in range(100):
        with socket.socket() as probe:
            if probe.connect_ex(('127.0.0.1', int(server.port))) == 0:
                break
        time.sleep(0.05)
    return server


def ask(command, port, connections, requests):
    """Nanoseconds per request; None if the client failed."""
    client = subprocess.run([*command, str(port), str(connections), str(requests)],
                            capture_output=True, text=True, preexec_fn=lambda: pin(1),
                            env={**os.environ, 'GOMAXPROCS': '1'})
    return float(client.stdout) if client.returncode == 0 else None


def report(work, who, taken):
    taken = [time for time in taken if time]
    if taken:
        print(work, who, f'{statistics.median(taken):.1f}', f'{min(taken):.1f}',
              f'{max(taken):.1f}', sep='\t', flush=True)


def main():
    with tempfile.TemporaryDirectory() as scratch:
        servers, clients, running = {}, {}, []
        try:
            for who, server, client, port in commands(scratch):
                running.append(start(server, port))
                servers[who] = running[-1].port
                if client:
                    clients[who] = client
            load = [programs / 'http_epoll_client']
            served = {who: [] for who in servers}
            asked = {who: [] for who in clients}
            for _ in range(ROUNDS):
                for who, port in servers.items():
                    served[who].append(ask(load, port, SERVER_CONNECTIONS, SERVER_REQUESTS))
                for who, client in clients.items():
                    asked[who].append(ask(client, servers['epoll by hand'], CLIENT_CONNECTIONS,
                                          CLIENT_REQUESTS))
            for who, taken in served.items():
                report(f'HTTP server, {SERVER_CONNECTIONS} connections, per request', who, taken)
            for who, taken in asked.items():
                report(f'HTTP client, {CLIENT_CONNECTIONS} connections, per request', who, taken)
        finally:
            for server in running:
                server.kill()
                server.wait()


main()
