// A Unix socket that something listens on, for tests.

import { createServer, type Server } from "node:net";

/** Listens at a path, and closes every connection; rejects when the path can't be bound. The caller closes the server. */
export const listenAt = (path: string): Promise<Server> =>
  new Promise((resolve, reject) => {
    const server = createServer((socket) => socket.destroy());
    server.once("error", reject).listen(path, () => resolve(server));
  });
