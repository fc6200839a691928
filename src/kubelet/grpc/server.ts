// How is a call answered? gRPC on a unix socket, over Node's HTTP/2: what device plugins need of it (unary calls and streams of
// answers, no compression, no TLS), as grpc/grpc doc/PROTOCOL-HTTP2.md has it. Whatever a handler throws is the caller's answer,
// and never reaches the event loop.

import {
  constants,
  createServer,
  type Http2Server,
  type IncomingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from "node:http2";
import { messageOf } from "../../message-of.ts";
import { prefixed, SingleMessage } from "./messages.ts";
import { type AnswerOf, type Codec, type Method, pathOf, type RequestOf, type Service } from "./service.ts";
import { codeOf, encodeMessage, status, StatusError } from "./status.ts";

/** A client's connection: the same object for all calls on it. */
export type Connection = object;

/** What answers a method: a function of the request, or one that is given the stream for its answers. */
export type Handler<M extends Method> = M["responseStream"] extends true
  ? (stream: AnswerStream<AnswerOf<M>>) => void
  : (request: RequestOf<M>, connection: Connection) => AnswerOf<M> | Promise<AnswerOf<M>>;

/** What answers the methods of a service. */
export type Handlers<S extends Service> = { readonly [Name in keyof S["methods"]]: Handler<S["methods"][Name]> };

/** What a server is held to, and whom it tells. */
export interface ServerOptions {
  /** Bytes of a request; more is answered by RESOURCE_EXHAUSTED. */
  readonly requestBytes: number;
  /** Calls at once on one connection (SETTINGS_MAX_CONCURRENT_STREAMS). */
  readonly callsAtOnce: number;
  /** A handler refused a call of this method, by throwing. */
  readonly refused: (method: string, error: unknown) => void;
}

/** How long a server that is closed waits for its calls to end before their connections are cut, in milliseconds. */
const closingLimit = 1000;

const answerHeaders = { ":status": 200, "content-type": "application/grpc+proto" } as const;

/** Characters of an error's message that travel: headers of 64 KiB end a whole connection. */
const messageLimit = 4096;

/** Trailers that say how a call ended. */
const trailersOf = (error: StatusError | null) =>
  error === null
    ? { "grpc-status": String(status.OK) }
    : { "grpc-status": String(error.code), "grpc-message": encodeMessage(error.message.slice(0, messageLimit)) };

const ignore = (): void => {};

/** A gRPC server on a unix socket. */
export class GrpcServer {
  readonly #options: ServerOptions;
  readonly #server: Http2Server;
  readonly #sessions = new Set<ServerHttp2Session>();
  readonly #methods = new Map<string, { readonly method: Method; readonly handler: unknown }>();

  constructor(options: ServerOptions) {
    this.#options = options;
    this.#server = createServer({ settings: { maxConcurrentStreams: options.callsAtOnce } });
    this.#server.on("session", (session) => {
      this.#sessions.add(session);
      session.on("close", () => this.#sessions.delete(session));
      // A peer that breaks the protocol, or goes: its session is closed after this.
      session.on("error", ignore);
    });
    this.#server.on("stream", (stream, headers) => {
      stream.on("error", ignore);
      this.#answer(stream as ServerHttp2Stream, headers);
    });
  }

  /** Answers the calls of a service. */
  serve<S extends Service>(service: S, handlers: Handlers<S>): void {
    for (const [name, method] of Object.entries(service.methods))
      this.#methods.set(pathOf(service, method), { method, handler: handlers[name] });
  }

  /** Listens on a unix socket that is made at this path. Rejects with the system's error. */
  listen(path: string): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    // After it listens an error is one of accepting, which is tried again at the next connection.
    this.#server.on("error", reject);
    this.#server.listen(path, resolve);
    return promise;
  }

  /** Cuts all connections; it goes on listening. */
  cut(): void {
    for (const session of this.#sessions) session.destroy();
  }

  /** Listens no longer, lets calls end, and cuts the connections of those that don't within a second. */
  close(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#server.close();
    const limit = setTimeout(() => {
      this.cut();
      resolve();
    }, closingLimit);
    const closed = () => {
      if (this.#sessions.size > 0) return;
      clearTimeout(limit);
      resolve();
    };
    for (const session of this.#sessions) {
      session.on("close", closed);
      session.close();
    }
    closed();
    return promise;
  }

  #answer(stream: ServerHttp2Stream, headers: IncomingHttpHeaders): void {
    const found = this.#methods.get(headers[":path"] ?? "");
    if (headers[":method"] !== "POST" || !headers["content-type"]?.startsWith("application/grpc")) {
      stream.respond({ ":status": 415 }, { endStream: true });
      discard(stream);
      return;
    }
    if (!found) {
      refuse(stream, new StatusError(status.UNIMPLEMENTED, `there is no method ${headers[":path"]}`));
      return;
    }
    const { method, handler } = found;
    const connection: Connection = stream.session ?? {};
    const message = new SingleMessage(this.#options.requestBytes);
    let isOver = false;
    const failed = (error: unknown) => {
      isOver = true;
      this.#options.refused(method.name, error);
      refuse(stream, new StatusError(codeOf(error), messageOf(error)));
    };
    stream.on("data", (piece: Buffer) => {
      if (isOver) return;
      try {
        message.add(piece);
      } catch (error) {
        failed(error);
      }
    });
    stream.on("end", () => {
      // Bun says "end" also of a stream that was reset, or whose connection went: nobody waits for its answer.
      if (isOver || !isOpen(stream)) return;
      isOver = true;
      try {
        const request: unknown = decoded(method.requestType, message.whole());
        if (method.responseStream) {
          (handler as (stream: AnswerStream<unknown>) => void)(
            new AnswerStream(stream, method.responseType, connection),
          );
          return;
        }
        const answer = (handler as (request: unknown, connection: Connection) => unknown)(request, connection);
        const send = (value: unknown) => respond(stream, prefixed(method.responseType.encode(value).finish()));
        if (answer instanceof Promise) answer.then(send).catch(failed);
        else send(answer);
      } catch (error) {
        failed(error);
      }
    });
  }
}

/** A request; one that is none is the caller's mistake. */
function decoded<Request>(codec: Codec<Request>, bytes: Uint8Array): Request {
  try {
    return codec.decode(bytes);
  } catch (error) {
    throw new StatusError(status.INTERNAL, `the request can't be read: ${messageOf(error)}`);
  }
}

const isOpen = (stream: ServerHttp2Stream): boolean => !stream.closed && !stream.destroyed;

/** Answers a unary call. */
function respond(stream: ServerHttp2Stream, message: Buffer): void {
  if (!isOpen(stream)) return;
  stream.respond(answerHeaders, { waitForTrailers: true });
  stream.on("wantTrailers", () => stream.sendTrailers(trailersOf(null)));
  stream.end(message);
}

/** Ends a call with a status, in its headers ("Trailers-Only"); one that was answered in part is reset. */
function refuse(stream: ServerHttp2Stream, error: StatusError): void {
  if (!isOpen(stream)) return;
  if (stream.headersSent) {
    stream.close(constants.NGHTTP2_INTERNAL_ERROR);
    return;
  }
  stream.respond({ ...answerHeaders, ...trailersOf(error) }, { endStream: true });
  discard(stream);
}

/** Takes no more of a request that was answered before its end. */
function discard(stream: ServerHttp2Stream): void {
  if (!stream.readableEnded) stream.close(constants.NGHTTP2_NO_ERROR);
}

/** The answers to one call, as many as there will be. */
export class AnswerStream<Answer> {
  readonly connection: Connection;
  readonly #stream: ServerHttp2Stream;
  readonly #codec: Codec<Answer>;
  #hasEnded = false;

  constructor(stream: ServerHttp2Stream, codec: Codec<Answer>, connection: Connection) {
    this.#stream = stream;
    this.#codec = codec;
    this.connection = connection;
  }

  /** Calls back once, when the call is over, whoever ended it. */
  whenOver(over: () => void): void {
    let isOver = false;
    const once = () => {
      if (!isOver) over();
      isOver = true;
    };
    for (const event of ["aborted", "close", "finish", "error"]) this.#stream.on(event, once);
    if (!isOpen(this.#stream)) once();
  }

  /** Sends an answer; calls back when the transport has taken it. */
  send(answer: Answer, taken: () => void): void {
    if (this.#hasEnded || !isOpen(this.#stream)) return;
    const message = prefixed(this.#codec.encode(answer).finish());
    if (!this.#stream.headersSent) this.#stream.respond(answerHeaders, { waitForTrailers: true });
    this.#stream.write(message, taken);
  }

  /** Ends the call: well, or with an error. */
  end(error: StatusError | null = null): void {
    if (this.#hasEnded || !isOpen(this.#stream)) return;
    this.#hasEnded = true;
    if (!this.#stream.headersSent) {
      this.#stream.respond({ ...answerHeaders, ...trailersOf(error) }, { endStream: true });
      return;
    }
    this.#stream.on("wantTrailers", () => this.#stream.sendTrailers(trailersOf(error)));
    this.#stream.end();
  }

  /** Resets the call's HTTP/2 stream: what was not taken is lost. */
  cut(): void {
    this.#hasEnded = true;
    this.#stream.destroy();
  }
}
