"""gRPC by hand over a socket: what no decent client library sends."""

import socket
import struct

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
END_STREAM, ACK, END_HEADERS = 1, 1, 4


def frame(kind, flags, stream, body=b""):
    return struct.pack(">I", len(body))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + body


def literal(name, value):
    """A header that is neither indexed nor compressed."""
    name, value = name.encode(), value.encode()
    assert len(name) < 127 and len(value) < 127
    return b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value


def call_headers(stream, method, timeout=None):
    block = b"".join(literal(*pair) for pair in [
        (":method", "POST"), (":scheme", "http"), (":path", method), (":authority", "localhost"),
        ("content-type", "application/grpc"), ("te", "trailers")])
    if timeout:
        block += literal("grpc-timeout", timeout)
    return frame(HEADERS, END_HEADERS, stream, block)


def message(body):
    """A gRPC message: uncompressed, behind its length."""
    return b"\0" + struct.pack(">I", len(body)) + body


class Connection:
    """One HTTP/2 connection that never gives the server more than its first window of 64 KiB to write into."""

    def __init__(self, address, greet=True):
        host, port = address.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), timeout=20)
        self.arrived = b""
        if greet:
            self.socket.sendall(PREFACE + frame(SETTINGS, 0, 0))

    def send(self, data):
        self.socket.sendall(data)

    def next_frame(self):
        """Kind, flags, stream and body of the next frame; None at the end of the connection."""
        while len(self.arrived) < 9 or len(self.arrived) < 9 + int.from_bytes(self.arrived[:3], "big"):
            try:
                data = self.socket.recv(65536)
            except ConnectionResetError:
                return None
            if not data:
                return None
            self.arrived += data
        end = 9 + int.from_bytes(self.arrived[:3], "big")
        kind, flags = self.arrived[3], self.arrived[4]
        stream = int.from_bytes(self.arrived[5:9], "big")
        body, self.arrived = self.arrived[9:end], self.arrived[end:]
        if kind == SETTINGS and not flags & ACK:
            self.send(frame(SETTINGS, ACK, 0))
        if kind == PING and not flags & ACK:
            self.send(frame(PING, ACK, 0, body))
        return kind, flags, stream, body

    def end_of(self, stream):
        """Everything that arrives until the server ends the stream: frames of it. None when the connection ends first."""
        frames = []
        while True:
            got = self.next_frame()
            if got is None or got[0] == GOAWAY:
                return None
            if got[2] != stream:
                continue
            frames.append(got)
            if got[0] == RST_STREAM or (got[0] in (DATA, HEADERS) and got[1] & END_STREAM):
                return frames

    def vanish(self):
        """Gone without a word: the peer gets a reset."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def close(self):
        self.socket.close()
