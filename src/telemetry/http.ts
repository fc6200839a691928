// How is a small question answered over HTTP? One GET a connection, bounded in size, time and number. Not by Bun.serve: while
// such a server is open, Bun gives the memory of a busy process back late (some 25 MiB after 5,000 streams).

import type { Socket, SocketHandler } from "bun";

/** A whole answer. */
export interface Answer {
  readonly status: number;
  readonly contentType: string;
  readonly body: string;
}

/** What a question is taken from: the path as it was sent, without its query, and the Accept header. */
export interface Question {
  readonly path: string;
  readonly accept: string;
}

/** Where a server listens. */
export type Place = { readonly unix: string } | { readonly hostname: string; readonly port: number };

/** Bytes that a request may have, milliseconds that a connection may last, and connections at a time. */
const bounds = { request: 8192, duration: 15_000, connections: 64 } as const;

const reasons: Readonly<Record<number, string>> = {
  200: "OK",
  400: "Bad Request",
  404: "Not Found",
  405: "Method Not Allowed",
  500: "Internal Server Error",
  503: "Service Unavailable",
};

/** An answer of text lines; the last one is ended here. */
export const plain = (status: number, text: string): Answer => ({
  status,
  contentType: "text/plain; charset=utf-8",
  body: `${text}\n`,
});

interface Connection {
  request: string;
  answered: boolean;
  /** What the kernel has not taken yet. */
  unsent: Uint8Array;
  readonly limit: Timer;
}

/** Serves questions; throws when the place is taken or can't be made. */
export function serve(place: Place, answer: (question: Question) => Promise<Answer>): { close(): void } {
  const open = new Set<Socket<Connection>>();
  const send = (socket: Socket<Connection>) => {
    const { data } = socket;
    const sent = socket.write(data.unsent);
    data.unsent = data.unsent.subarray(Math.max(0, sent));
    if (data.unsent.length === 0) socket.end();
  };
  const reply = (socket: Socket<Connection>, given: Answer, withBody: boolean) => {
    socket.data.unsent = encode(given, withBody);
    send(socket);
  };
  const socket: SocketHandler<Connection> = {
    open(socket) {
      const limit = setTimeout(() => socket.terminate(), bounds.duration);
      socket.data = { request: "", answered: false, unsent: new Uint8Array(), limit };
      open.add(socket);
      if (open.size > bounds.connections) socket.terminate();
    },
    data(socket, bytes) {
      const { data } = socket;
      if (data.answered) return;
      data.request += bytes.toString("latin1");
      const end = data.request.indexOf("\r\n\r\n");
      if (end === -1 && data.request.length <= bounds.request) return;
      data.answered = true;
      const [method = "", question] = parse(data.request.slice(0, Math.max(0, end)));
      const withBody = method !== "HEAD";
      if (!question) return reply(socket, plain(400, "this is no HTTP request, or it is too long"), withBody);
      if (method !== "GET" && method !== "HEAD") return reply(socket, plain(405, "only GET is answered"), withBody);
      answer(question).then(
        (given) => reply(socket, given, withBody),
        (error: unknown) => reply(socket, plain(500, error instanceof Error ? error.message : "failed"), withBody),
      );
    },
    drain: (socket) => void (socket.data.unsent.length > 0 && send(socket)),
    close(socket) {
      clearTimeout(socket.data.limit);
      open.delete(socket);
    },
    error: (socket) => void socket.terminate(),
  };
  const listener =
    "unix" in place ? Bun.listen<Connection>({ ...place, socket }) : Bun.listen<Connection>({ ...place, socket });
  return { close: () => listener.stop(true) };
}

/** Method and question of a request's head (RFC 9112 3); no question when it is none. */
function parse(head: string): [method: string, question: Question | null] {
  const [first = "", ...fields] = head.split("\r\n");
  const [, method = "", path = ""] = /^([A-Z]+) (\/[^\s?]*)(?:\?\S*)? HTTP\/1\.[01]$/.exec(first) ?? [];
  if (method === "") return ["", null];
  const accept = fields.flatMap((field) => /^accept:(.*)$/i.exec(field)?.[1] ?? []).join(",");
  return [method, { path, accept }];
}

function encode({ status, contentType, body }: Answer, withBody: boolean): Uint8Array {
  const bytes = Buffer.from(body);
  const head = [
    `HTTP/1.1 ${status} ${reasons[status] ?? ""}`,
    `Content-Type: ${contentType}`,
    `Content-Length: ${bytes.length}`,
    "Cache-Control: no-store",
    "Connection: close",
  ];
  return Buffer.concat([Buffer.from(`${head.join("\r\n")}\r\n\r\n`), ...(withBody ? [bytes] : [])]);
}
