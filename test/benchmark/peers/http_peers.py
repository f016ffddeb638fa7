"""The servers and clients of the HTTP rows: ours and those that are installed."""
import contextlib
import os
import pathlib
import resource
import shutil
import socket
import subprocess
import sys
import time

from processes import has, pin

here = pathlib.Path(__file__).parent
NGINX = '''
daemon off;
master_process off;
pid {scratch}/nginx.pid;
error_log {scratch}/nginx.log;
events {{ worker_connections 16384; }}
http {{
  access_log off;
  sendfile on;
  keepalive_requests 1000000000;
  keepalive_timeout 1h;
  client_body_temp_path {scratch}/body;
  proxy_temp_path {scratch}/proxy;
  fastcgi_temp_path {scratch}/fastcgi;
  uwsgi_temp_path {scratch}/uwsgi;
  scgi_temp_path {scratch}/scgi;
  default_type text/plain;
  server {{
    listen 127.0.0.1:{port} {tls};
    location / {{ return 200 "hello"; }}
    location /files/ {{ alias {files}/; }}
  }}
}}
'''
NGINX_TLS = '''ssl;
    ssl_protocols TLSv1.3;
    ssl_certificate {0};
    ssl_certificate_key {1}'''
OTHERS = {'epoll by hand': 'epoll_', 'fiber': '', 'Boost.Beast': 'beast_'}


class Peers:
    """Commands, which all know the same arguments; `scratch` takes what they need for a while."""

    def __init__(self, programs, scratch):
        self.programs, self.scratch = pathlib.Path(programs), pathlib.Path(scratch)
        self.files = self.scratch / 'files'
        self.files.mkdir()
        self.environment = {**os.environ, 'GOMAXPROCS': '1'}
        self.servers, self.clients = {}, {}
        for who, name in OTHERS.items():
            self.add(who, *([self.programs / f'http_{name}{part}'] for part in ('server', 'client')))
        if has('aiohttp'):
            python = [sys.executable, here / 'http_aiohttp.py']
            self.add('asyncio', python + ['server'], python + ['client'])
            if has('uvloop'):
                python.append('uvloop')
                self.add('uvloop', python + ['server'], python + ['client'])
        go = self.scratch / 'http_go'
        if shutil.which('go'):
            subprocess.run(['go', 'build', '-o', go, here / 'http.go'], check=False)
            self.add('Go', [go, 'server'], [go, 'client'])
        if shutil.which('nginx'):
            self.servers['nginx'] = None
        self.load = [self.programs / 'http_epoll_client']

    def add(self, who, server, client):
        for place, command in (self.servers, server), (self.clients, client):
            if pathlib.Path(command[0]).exists():
                place[who] = command

    def secret(self):
        """A certificate for this machine, and its key; made once, and trusted by all clients."""
        certificate, key = self.scratch / 'certificate.pem', self.scratch / 'key.pem'
        if not certificate.exists():
            subprocess.run(['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt',
                            'ec_paramgen_curve:P-256', '-nodes', '-days', '2', '-keyout', key,
                            '-out', certificate, '-subj', '/CN=127.0.0.1', '-addext',
                            'subjectAltName=IP:127.0.0.1'], check=True, stderr=subprocess.DEVNULL)
            self.environment['SSL_CERT_FILE'] = str(certificate)
        return [certificate, key]

    def nginx(self, secret):
        """A command and a port: this server cannot choose a free one itself."""
        with socket.socket() as probe:
            probe.bind(('127.0.0.1', 0))
            port = probe.getsockname()[1]
        config = self.scratch / f'nginx-{port}.conf'
        config.write_text(NGINX.format(scratch=self.scratch, port=port, files=self.files,
                                       tls=NGINX_TLS.format(*secret) if secret else ''))
        return ['nginx', '-c', config, '-p', self.scratch], port

    @contextlib.contextmanager
    def serving(self, *names, tls=False):
        """Starts the servers of these names, all without any, on the first processor; gives the URL
        and the process of each."""
        secret = self.secret() if tls else []
        running = {}
        try:
            for who in self.servers:
                if names and who not in names:
                    continue
                command, port = ([*self.servers[who], self.files, *secret], None) \
                    if who != 'nginx' else self.nginx(secret)
                server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True,
                                          env=self.environment, preexec_fn=lambda: pin(0))
                port = port or int(server.stdout.readline())
                running[who] = (f'http{"s" if tls else ""}://127.0.0.1:{port}/', server)
                wait_for(port)
            yield running
        finally:
            for _, server in running.values():
                server.kill()
                server.wait()

    def ask(self, command, url, *numbers):
        """The figures that a client on the second processor prints; none if it failed."""
        client = subprocess.run([*command, url, *map(str, numbers)], capture_output=True, text=True,
                                env=self.environment, preexec_fn=lambda: pin(1))
        return [float(word) for word in client.stdout.split()] if client.returncode == 0 else []


def wait_for(port):
    for _ in range(100):
        with socket.socket() as probe:
            if probe.connect_ex(('127.0.0.1', port)) == 0:
                return
        time.sleep(0.05)


def allow_descriptors():
    """As many as are allowed, for this process and its children; returns the number."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return most
