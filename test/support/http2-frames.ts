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
