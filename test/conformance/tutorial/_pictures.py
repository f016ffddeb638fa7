"""The common part of the three downloaders: a server of six pictures, a directory to save them."""
import argparse
import contextlib
import http.client
import http.server
import pathlib
import struct
import threading
import time
import urllib.parse


def picture(number):
    """A bitmap of 8 x 8 pixels, another gradient for each number."""
    pixels = [(30 * x, 30 * y, 40 * number) for y in range(8) for x in range(8)]
    body = bytes(value for pixel in pixels for value in pixel)
    sizes = (54 + len(body), 0, 54, 40, 8, 8, 1, 24, 0, len(body), 2835, 2835, 0, 0)
    return struct.pack("<2sIIIIiiHHIIiiII", b"BM", *sizes) + body


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        time.sleep(self.server.delay)
        content = picture(int(self.path.strip("/").partition(".")[0]))
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments):
        pass


@contextlib.contextmanager
def download():
    """Serves the pictures; yields their URLs and a directory to save them in."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--delay", type=float, default=1.0)
    parser.add_argument("--output", type=pathlib.Path, default=pathlib.Path("images"))
    options = parser.parse_args()

    existed = options.output.is_dir()
    options.output.mkdir(exist_ok=True)
    print("directory exists" if existed else "directory made", options.output)

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.delay = options.delay
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
    start = time.monotonic()
    try:
        base = f"http://127.0.0.1:{server.server_port}"
        yield [f"{base}/{number}.bmp" for number in range(1, 7)], options.output
    finally:
        server.shutdown()
        server.server_close()
    print(f"elapsed {time.monotonic() - start:.1f}")


def get(url):
    """The content behind a URL, fetched with blocking calls."""
    parts = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port)
    connection.request("GET", parts.path)
    with contextlib.closing(connection):
        return connection.getresponse().read()


def name_of(url):
    return url.rsplit("/", 1)[-1]


def save(directory, url, content):
    (directory / name_of(url)).write_bytes(content)
    print("saved", name_of(url))
