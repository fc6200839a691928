// A client for Allocate that costs as little as possible, since it shares the machine with what is measured: one connection,
// and only the status of an answer is read.

import { type ClientHttp2Session, connect } from "node:http2";
import { connect as connectSocket } from "node:net";
import { AllocateRequest } from "../../src/kubelet/api/deviceplugin.ts";
import { grpcMessage } from "../../test/support/http2-frames.ts";

const headers = {
  ":method": "POST",
  ":path": "/v1beta1.DevicePlugin/Allocate",
  "content-type": "application/grpc",
  te: "trailers",
} as const;

/** A connection to a pool's socket. */
export class Caller {
  readonly #session: ClientHttp2Session;

  constructor(socket: string) {
    this.#session = connect("http://localhost", { createConnection: () => connectSocket({ path: socket }) });
  }

  /** Calls Allocate for one container with these devices; returns how long it took, in milliseconds. Rejects when it is refused. */
  allocate(devicesIds: string[]): Promise<number> {
    const request = grpcMessage(AllocateRequest.encode({ containerRequests: [{ devicesIds }] }).finish());
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    const started = performance.now();
    const stream = this.#session.request(headers);
    stream.on("error", reject);
    const refuse = (code: unknown, message: unknown) =>
      reject(new Error(`Allocate of ${devicesIds.join()}: status ${String(code)}: ${String(message)}`));
    stream.on("response", ({ "grpc-status": code, "grpc-message": message }) => {
      if (code !== undefined) refuse(code, message);
    });
    stream.on("trailers", ({ "grpc-status": code, "grpc-message": message }) => {
      if (code === "0") resolve(performance.now() - started);
      else refuse(code, message);
    });
    stream.resume();
    stream.end(request);
    return promise;
  }

  close(): void {
    this.#session.destroy();
  }
}
