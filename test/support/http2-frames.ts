// Bytes as an HTTP/2 client puts them on its socket (RFC 9113), for what a well-behaved one never sends.

/** What a connection begins with (section 3.4); settings follow. */
export const preface = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");

/** A frame (section 4.1), which may lie about its length. */
export const frame = (type: number, flags: number, stream: number, payload: Uint8Array, length = payload.length) =>
  Buffer.concat([
    Uint8Array.of(length >> 16, (length >> 8) & 255, length & 255, type, flags, 0, 0, stream >> 8, stream & 255),
    payload,
  ]);

/** A SETTINGS frame without settings. */
export const settings = frame(4, 0, 0, new Uint8Array());

/** The flag of a DATA or HEADERS frame that is the stream's last. */
export const endStream = 1;

/** A DATA frame. */
export const data = (stream: number, bytes: Uint8Array, flags = 0) => frame(0, flags, stream, bytes);

/** A gRPC message as it travels, not compressed: behind a flag and its length (grpc/grpc doc/PROTOCOL-HTTP2.md). */
export function grpcMessage(message: Uint8Array): Buffer {
  const bytes = Buffer.alloc(5 + message.length);
  bytes.writeUInt32BE(message.length, 1);
  bytes.set(message, 5);
  return bytes;
}

/** A RST_STREAM frame: CANCEL, as a client gives up a call. */
export const reset = (stream: number) => frame(3, 0, stream, Uint8Array.of(0, 0, 0, 8));

/** The HEADERS frame that begins a gRPC call: literal fields that go to no table (RFC 7541, section 6.2.2). */
export function callHeaders(stream: number, path: string): Buffer {
  const text = (value: string) => Buffer.concat([Uint8Array.of(value.length), Buffer.from(value)]);
  const fields = [
    [":method", "POST"],
    [":scheme", "http"],
    [":authority", "localhost"],
    [":path", path],
    ["content-type", "application/grpc"],
    ["te", "trailers"],
  ] as const;
  const block = fields.flatMap(([name, value]) => [Uint8Array.of(0), text(name), text(value)]);
  return frame(1, 4, stream, Buffer.concat(block));
}

/** A WINDOW_UPDATE frame; stream 0 is the connection. */
export const windowUpdate = (stream: number, increment: number) => {
  const payload = Buffer.alloc(4);
  payload.writeUInt32BE(increment);
  return frame(8, 0, stream, payload);
};

/** A SETTINGS frame with SETTINGS_INITIAL_WINDOW_SIZE. */
export function initialWindow(size: number): Buffer {
  const payload = Buffer.from([0, 4, 0, 0, 0, 0]);
  payload.writeUInt32BE(size, 2);
  return frame(4, 0, 0, payload);
}

/** A PING frame; its acknowledgement shows that all before it was read. */
export const ping = frame(6, 0, 0, new Uint8Array(8));

/** A frame that was received. */
export interface Frame {
  readonly type: number;
  readonly flags: number;
  readonly stream: number;
  readonly payload: Buffer;
}

/** The whole frames in what was received. */
export function framesIn(bytes: Buffer): Frame[] {
  const frames: Frame[] = [];
  for (let at = 0; at + 9 <= bytes.length;) {
    const end = at + 9 + bytes.readUIntBE(at, 3);
    if (end > bytes.length) break;
    frames.push({
      type: bytes[at + 3] ?? 0,
      flags: bytes[at + 4] ?? 0,
      stream: bytes.readUInt32BE(at + 5) & 0x7fffffff,
      payload: bytes.subarray(at + 9, end),
    });
    at = end;
  }
  return frames;
}

/** The bytes of a stream's DATA frames, gRPC's prefixes included. */
export const dataOf = (bytes: Buffer, stream: number): Buffer =>
  Buffer.concat(
    framesIn(bytes)
      .filter((frame) => frame.type === 0 && frame.stream === stream)
      .map(({ payload }) => payload),
  );
