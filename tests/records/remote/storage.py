"""A local S3 server, and a proxy before it that cuts connections."""

import os
import socket
import threading
import urllib.request
from contextlib import contextmanager
from unittest import mock


class CuttingProxy:
    """Passes bytes on to a server; of each connection that is to be cut, only the first ones.

    Attributes:
        cuts: connections that will be cut, counted down.
        keep: bytes of a cut connection that still pass, in each direction.
        done: connections that were cut.
    """

    def __init__(self, port):
        self.target, self.cuts, self.keep, self.done = port, 0, 3000, 0
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                client, _ = self.socket.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self.target))
            for ends in ((client, server), (server, client)):
                threading.Thread(target=self._pass, args=ends, daemon=True).start()

    def _pass(self, source, target):
        passed = 0
        try:
            while data := source.recv(65536):
                if self.cuts > 0 and passed + len(data) > self.keep:
                    self.cuts -= 1
                    self.done += 1
                    target.sendall(data[: self.keep])
                    break
                passed += len(data)
                target.sendall(data)
        except OSError:
            pass
        for end in (source, target):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self):
        self.socket.close()


@contextmanager
def s3_server():
    """Start a server with the bucket `rows`, behind a proxy; yield the proxy. fsspec finds it by itself."""
    import boto3
    import fsspec
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    proxy = CuttingProxy(port)
    settings = {
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{proxy.port}",
        "AWS_MAX_ATTEMPTS": "1",  # so that what is tried again is ours
        "no_proxy": "127.0.0.1",
    }
    with mock.patch.dict(os.environ, settings):
        fsspec.get_filesystem_class("s3").clear_instance_cache()
        boto3.client("s3").create_bucket(Bucket="rows")
        try:
            yield proxy
        finally:
            fsspec.get_filesystem_class("s3").clear_instance_cache()
            proxy.close()
            # Its objects belong to the process, and would outlive it.
            reset = urllib.request.Request(f"http://127.0.0.1:{port}/moto-api/reset", method="POST")
            urllib.request.build_opener(urllib.request.ProxyHandler({})).open(reset).close()
            server.stop()
