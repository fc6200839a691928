// A gRPC server on a unix socket: grpc-js on connections that we accept. Whatever a handler throws becomes the status of its
// call and never reaches the event loop, where grpc-js would let it end the process.

import {
  type ConnectionInjector,
  type handleServerStreamingCall,
  type handleUnaryCall,
  logVerbosity,
  Server,
  ServerCredentials,
  type ServerWritableStream,
  setLogVerbosity,
} from "@grpc/grpc-js";
import { createServer, type Server as Listener } from "node:net";
import { messageOf } from "../../text.ts";
import { type Connection, Connections } from "./connections.ts";
import { status, StatusError, statusObjectOf } from "./status-error.ts";

// grpc-js would write lines of its own to standard error, some with what a peer sent.
setLogVerbosity(logVerbosity.NONE);

/** A method as ts-proto generates it: unary, or with a stream of answers. */
interface Method {
  readonly path: string;
  readonly requestStream: false;
  readonly responseStream: boolean;
  readonly requestDeserialize: (bytes: Buffer) => unknown;
  // oxlint-disable-next-line typescript/no-explicit-any
  readonly responseSerialize: (answer: any) => Buffer;
  // oxlint-disable-next-line typescript/no-explicit-any
  readonly requestSerialize: (request: any) => Buffer;
  readonly responseDeserialize: (bytes: Buffer) => unknown;
}

type Service = Readonly<Record<string, Method>>;
type RequestOf<M extends Method> = ReturnType<M["requestDeserialize"]>;
type AnswerOf<M extends Method> = Parameters<M["responseSerialize"]>[0];

/** Handles a method: a function of the request, or one that is given the stream for its answers. */
export type Handler<M extends Method> = M["responseStream"] extends true
  ? (stream: AnswerStream<AnswerOf<M>>) => void
  : (request: RequestOf<M>, connection: Connection) => AnswerOf<M> | Promise<AnswerOf<M>>;

/** The handlers of a service's methods. */
export type Handlers<S extends Service> = { readonly [Name in keyof S]: Handler<S[Name]> };

/** A server's limits, and its callback for refused calls. */
export interface ServerOptions {
  /** Bytes of a request; more is answered by RESOURCE_EXHAUSTED. */
  readonly requestBytes: number;
  /** Calls at once on one connection (SETTINGS_MAX_CONCURRENT_STREAMS). */
  readonly callsAtOnce: number;
  /** Open connections; see Connections.accept. */
  readonly connections: number;
  /** A call of this method was refused, by an error that its handler threw. */
  readonly refused: (method: string, error: unknown) => void;
  /** A connection was established or closed. */
  readonly connectionsChanged?: () => void;
}

/** How long a client may take to begin with HTTP/2, in milliseconds; grpc-go and grpc-js do so at once. */
const handshakeLimit = 5000;

/** How long close() waits for calls to end before their connections are cut, in milliseconds. */
const closingLimit = 50;

/** A gRPC server on a unix socket. */
export class GrpcServer {
  readonly #options: ServerOptions;
  readonly #server: Server;
  readonly #injector: ConnectionInjector;
  readonly #connections: Connections;
  readonly #listener: Listener;

  constructor(options: ServerOptions) {
    this.#options = options;
    this.#server = new Server({
      "grpc.enable_channelz": 0,
      "grpc.max_concurrent_streams": options.callsAtOnce,
      "grpc.max_receive_message_length": options.requestBytes,
    });
    this.#injector = this.#server.createConnectionInjector(ServerCredentials.createInsecure());
    this.#connections = new Connections(
      { connections: options.connections, handshake: handshakeLimit },
      (socket) => this.#injector.injectConnection(socket),
      options.connectionsChanged,
    );
    this.#listener = createServer((socket) => this.#connections.accept(socket));
  }

  /** The open connections. */
  get connections(): readonly Connection[] {
    return this.#connections.established;
  }

  /** Handles the calls of a service. */
  serve<S extends Service>(service: S, handlers: Handlers<S>): void {
    const definitions = Object.entries(service).map(([name, method]) => [name, { ...method, ...readable(method) }]);
    const implementations = Object.entries(service).map(([name, { path, responseStream }]) => {
      const method = path.slice(path.lastIndexOf("/") + 1);
      return [
        name,
        responseStream
          ? this.#streaming(method, handlers[name] as (stream: AnswerStream<unknown>) => void)
          : this.#unary(method, handlers[name] as (request: unknown, connection: Connection) => unknown),
      ];
    });
    this.#server.addService(Object.fromEntries(definitions), Object.fromEntries(implementations));
  }

  /** Listens on a unix socket that is made at this path. Rejects with the system's error. */
  listen(path: string): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    // Once it listens an error is one of accept(2), which is tried again at the next connection.
    this.#listener.on("error", reject);
    this.#listener.listen(path, resolve);
    return promise;
  }

  /** Closes all connections at once; new ones are accepted. */
  cut(): void {
    this.#connections.cut();
  }

  /** Stops listening, lets calls end, and cuts the connections of those that do not within 50 ms. */
  async close(): Promise<void> {
    this.#listener.close();
    this.#server.tryShutdown(() => {});
    await this.#connections.close(closingLimit);
    this.#server.forceShutdown();
  }

  #unary(
    method: string,
    handler: (request: unknown, connection: Connection) => unknown,
  ): handleUnaryCall<unknown, unknown> {
    return (call, done) => {
      const connection = this.#connections.get(call.getPeer());
      // The call was reset, or its connection closed, before its request was whole: there is no one to answer.
      if (!connection) return;
      const refuse = (error: unknown) => {
        this.#options.refused(method, error);
        quietly(() => done(statusObjectOf(error)));
      };
      const respond = (answer: unknown) => quietly(() => done(null, answer));
      try {
        const answer = handler(readRequest(call.request), connection);
        if (answer instanceof Promise) answer.then(respond, refuse);
        else respond(answer);
      } catch (error) {
        refuse(error);
      }
    };
  }

  #streaming(
    method: string,
    handler: (stream: AnswerStream<unknown>) => void,
  ): handleServerStreamingCall<unknown, unknown> {
    return (call) => {
      const connection = this.#connections.get(call.getPeer());
      if (!connection) return;
      const stream = new AnswerStream(call, connection);
      try {
        readRequest(call.request);
        handler(stream);
      } catch (error) {
        this.#options.refused(method, error);
        stream.end(error);
      }
    };
  }
}

/** A throw from grpc-js while it sends means that the call's stream is broken: nothing can be sent. */
function quietly(send: () => void): void {
  try {
    send();
  } catch {
    // The peer sees the stream's end.
  }
}

/** A request that could not be decoded; grpc-js would answer without saying why. */
class Unreadable {
  readonly reason: string;

  constructor(reason: string) {
    this.reason = reason;
  }
}

const readable = ({ requestDeserialize }: Method) => ({
  requestDeserialize: (bytes: Buffer): unknown => {
    try {
      return requestDeserialize(bytes);
    } catch (error) {
      return new Unreadable(messageOf(error));
    }
  },
});

function readRequest(request: unknown): unknown {
  if (request instanceof Unreadable)
    throw new StatusError(status.INTERNAL, `the request can't be read: ${request.reason}`);
  return request;
}

/** The answers to one call, as many as there will be. */
export class AnswerStream<Answer> {
  readonly connection: Connection;
  readonly #call: ServerWritableStream<unknown, Answer>;
  readonly #over = new Set<() => void>();
  #isOver = false;
  #hasEnded = false;

  constructor(call: ServerWritableStream<unknown, Answer>, connection: Connection) {
    this.#call = call;
    this.connection = connection;
    connection.streams++;
    // grpc-js emits "cancelled" at the end of every call, by either side.
    call.once("cancelled", () => this.#end());
    call.once("close", () => this.#end());
  }

  /** Calls back once, when the call is over, by either side. */
  whenOver(over: () => void): void {
    if (this.#isOver) over();
    else this.#over.add(over);
  }

  /** Sends an answer; calls back when the transport has taken it. */
  send(answer: Answer, taken: () => void): void {
    if (this.#hasEnded || this.#isOver) return;
    quietly(() =>
      this.#call.write(answer, (error: Error | null | undefined) => {
        if (!error) taken();
      }),
    );
  }

  /** Ends the call after what was sent: well, or with the status of an error. */
  end(error: unknown = null): void {
    if (this.#hasEnded || this.#isOver) return;
    this.#hasEnded = true;
    quietly(() => {
      if (error === null) this.#call.end();
      else this.#call.emit("error", statusObjectOf(error));
    });
  }

  /** Cuts the call's connection: grpc-js has no way to reset one stream. What was not taken is lost. */
  cut(): void {
    this.#hasEnded = true;
    this.connection.cut();
  }

  #end(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.connection.streams--;
    for (const over of this.#over) over();
    this.#over.clear();
  }
}
