// A device plugin on a gRPC server, of which each test says what it answers: what the tests of the server share.

import { afterEach, beforeEach } from "bun:test";
import { DevicePluginService, type ListAndWatchResponse } from "../../src/kubelet/api/deviceplugin.ts";
import { type AnswerStream, GrpcServer } from "../../src/kubelet/grpc/server.ts";
import { type DevicePluginClient, pluginClient, type ServiceError } from "./grpc.ts";
import { removeTemporaryFolder, temporaryFolder } from "./plugin.ts";

/** Listens during each test of the calling file, on a socket of its own; what a test changes is as before in the next one. */
export class SimulatedPlugin {
  folder = "";
  server!: GrpcServer;
  /** What the server reported about rejected calls. */
  refused: string[] = [];
  allocate!: (ids: readonly string[]) => unknown;
  /** What is done with a stream of lists when it opens. */
  listening!: (stream: AnswerStream<ListAndWatchResponse>) => void;
  streams: AnswerStream<ListAndWatchResponse>[] = [];
  clients: DevicePluginClient[] = [];

  constructor() {
    beforeEach(async () => {
      this.folder = temporaryFolder();
      [this.refused, this.streams, this.clients] = [[], [], []];
      this.listening = () => {};
      this.allocate = (ids) => ({
        containerResponses: ids.map(() => ({ envs: {}, mounts: [], devices: [], annotations: {}, cdiDevices: [] })),
      });
      this.server = new GrpcServer({
        requestBytes: 1000,
        callsAtOnce: 50,
        connections: 20,
        refused: (method, error) => this.refused.push(`${method}: ${String(error)}`),
      });
      this.server.serve(DevicePluginService, {
        getDevicePluginOptions: () => ({ preStartRequired: false, getPreferredAllocationAvailable: true }),
        listAndWatch: (stream) => {
          this.streams.push(stream);
          this.listening(stream);
        },
        allocate: ({ containerRequests }) =>
          this.allocate(containerRequests.flatMap(({ devicesIds }) => devicesIds)) as never,
        getPreferredAllocation: () => ({ containerResponses: [] }),
        preStartContainer: () => ({}),
      });
      await this.server.listen(this.socket);
    });

    afterEach(async () => {
      for (const client of this.clients) client.close();
      await this.server.close();
      removeTemporaryFolder(this.folder);
    });
  }

  get socket(): string {
    return `${this.folder}/s`;
  }

  newClient(): DevicePluginClient {
    const client = pluginClient(this.socket);
    this.clients.push(client);
    return client;
  }
}

/** A request for one container. */
export const requestFor = (...devicesIds: string[]) => ({ containerRequests: [{ devicesIds }] });

/** The number of the answer's containers, or the error. */
export const callAllocate = (client: DevicePluginClient, ...ids: string[]): Promise<number | ServiceError> =>
  new Promise((resolve) =>
    client.allocate(requestFor(...ids), { deadline: Date.now() + 10_000 }, (error, answer) =>
      resolve(error ?? answer.containerResponses.length),
    ),
  );
