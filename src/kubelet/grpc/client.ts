// How is the kubelet asked? One unary gRPC call on a connection of its own to a unix socket, over Node's HTTP/2
// (grpc/grpc doc/PROTOCOL-HTTP2.md).

import { type ClientHttp2Session, connect, type IncomingHttpHeaders, type IncomingHttpStatusHeader } from "node:http2";
import { connect as connectSocket } from "node:net";
import { messageOf } from "../../message-of.ts";
import { prefixed, SingleMessage } from "./messages.ts";
import { type AnswerOf, pathOf, type RequestOf, type Service } from "./service.ts";
import { decodeMessage, describeStatus, status, StatusError, type StatusCode } from "./status.ts";

/** What a call is held to. */
export interface CallOptions {
  /** How long it may take, in milliseconds; longer is DEADLINE_EXCEEDED. */
  readonly limit: number;
  /** Bytes of the answer; more is RESOURCE_EXHAUSTED. */
  readonly answerBytes: number;
  /** Ends the call: CANCELLED. */
  readonly abort?: AbortSignal;
}

/**
 * Calls a method of a service on a unix socket. Rejects with StatusError, whose message begins with the status: the called
 * one's, or UNAVAILABLE when there is no connection or it breaks, DEADLINE_EXCEEDED, CANCELLED, RESOURCE_EXHAUSTED or INTERNAL.
 */
export async function call<S extends Service, Name extends keyof S["methods"] & string>(
  socket: string,
  service: S,
  name: Name,
  request: RequestOf<S["methods"][Name]>,
  options: CallOptions,
): Promise<AnswerOf<S["methods"][Name]>> {
  const method = service.methods[name];
  if (!method) throw new Error(`${service.fullName} has no method ${name}`);
  const session = connect("http://localhost", { createConnection: () => connectSocket({ path: socket }) });
  // Also when nobody waits for it any more.
  session.on("error", () => {});
  try {
    const answer = await exchange(
      session,
      pathOf(service, method),
      method.requestType.encode(request).finish(),
      options,
    );
    return method.responseType.decode(answer) as AnswerOf<S["methods"][Name]>;
  } catch (error) {
    const code = error instanceof StatusError ? error.code : status.INTERNAL;
    throw new StatusError(code, `${describeStatus(code)}: ${messageOf(error)}`);
  } finally {
    session.destroy();
  }
}

/** Sends a request and gives the bytes of its answer. */
function exchange(
  session: ClientHttp2Session,
  path: string,
  request: Uint8Array,
  { limit, answerBytes, abort }: CallOptions,
): Promise<Uint8Array> {
  const stream = session.request({
    ":method": "POST",
    ":path": path,
    "content-type": "application/grpc",
    te: "trailers",
    "grpc-timeout": `${limit}m`,
  });
  const { promise, resolve, reject } = Promise.withResolvers<Uint8Array>();
  const fail = (code: StatusCode, details: string) => reject(new StatusError(code, details));
  const timer = setTimeout(() => fail(status.DEADLINE_EXCEEDED, `no answer within ${limit} ms`), limit);
  const cancel = () => fail(status.CANCELLED, "it is not wanted any more");
  abort?.addEventListener("abort", cancel);
  if (abort?.aborted) cancel();
  const broken = (error: unknown) => fail(status.UNAVAILABLE, messageOf(error));
  session.on("error", broken);
  session.on("close", () => fail(status.UNAVAILABLE, "the connection was closed"));

  const message = new SingleMessage(answerBytes);
  let answered: IncomingHttpHeaders & IncomingHttpStatusHeader = {};
  let trailers: IncomingHttpHeaders = {};
  stream.on("response", (headers) => {
    answered = headers;
    if (headers[":status"] !== 200) fail(status.UNKNOWN, `it answers with HTTP status ${headers[":status"]}`);
  });
  stream.on("trailers", (headers) => (trailers = headers));
  stream.on("data", (piece: Buffer) => {
    try {
      message.add(piece);
    } catch (error) {
      reject(error);
    }
  });
  stream.on("error", broken);
  stream.on("close", () => {
    const { "grpc-status": code, "grpc-message": details = "" } = { ...answered, ...trailers };
    if (answered[":status"] === undefined) return fail(status.UNAVAILABLE, "the call was reset before its answer");
    if (code === undefined) return fail(status.UNKNOWN, "the answer has no status");
    if (code !== String(status.OK)) return fail(Number(code), decodeMessage(String(details)));
    try {
      return resolve(message.whole());
    } catch (error) {
      return reject(error);
    }
  });
  stream.end(prefixed(request));
  return promise.finally(() => {
    clearTimeout(timer);
    abort?.removeEventListener("abort", cancel);
  });
}
