// The sockets on which a kubelet double is served, and those that it finds.

import { Server, ServerCredentials, type UntypedServiceImplementation } from "@grpc/grpc-js";
import { lstatSync, rmSync } from "node:fs";

/** Serves this on a unix socket of this path, in place of one that is there. */
export async function serveOn(socket: string, service: object, handlers: object): Promise<Server> {
  rmSync(socket, { force: true });
  const server = new Server();
  server.addService(service as never, handlers as UntypedServiceImplementation);
  await new Promise<void>((resolve, reject) =>
    server.bindAsync(`unix:${socket}`, ServerCredentials.createInsecure(), (error) =>
      error ? reject(error) : resolve(),
    ),
  );
  return server;
}

export function isSocket(path: string): boolean {
  try {
    return lstatSync(path).isSocket();
  } catch {
    return false;
  }
}
