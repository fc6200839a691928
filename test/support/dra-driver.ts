// A DRA server beside a kubelet double, of which each test says how claims are prepared: what the tests of the server share.

import { afterEach, beforeEach } from "bun:test";
import type { ClaimReference, PreparedClaimDevice } from "../../src/allocation/claim.ts";
import { DraServer, type DraServerOptions } from "../../src/kubelet/dra-server.ts";
import { kubeletPaths } from "../../src/kubelet/kubelet-paths.ts";
import { DraKubelet } from "./dra-kubelet.ts";
import { removeTemporaryFolder, temporaryFolder } from "./plugin.ts";
import { until } from "./until.ts";

export const driver = "sriovdp.example.com";

/** A claim as the kubelet names it. */
export const aReference = (name: string, uid = `uid-${name}`) => ({ namespace: "default", name, uid });

/** What is prepared for a claim. */
export const aPreparedDevice = ({ uid, name }: ClaimReference): PreparedClaimDevice => ({
  requestNames: [name],
  poolName: "node-a/0000-3b-00.0",
  deviceName: "0000-3b-02-1",
  cdiDeviceIds: [`${driver}/claim=${uid}.nics`],
  shareId: null,
});

/** Why a call failed; "" when it did not. */
export const failureOf = (call: Promise<unknown>): Promise<string> =>
  call.then(
    () => "",
    (error: Error) => error.message,
  );

/** Servers and a kubelet during each test of the calling file. */
export class DraDriver {
  root = "";
  kubelet!: DraKubelet;
  /** Lines of the log: "LEVEL MESSAGE FIELDS". */
  logged: string[] = [];
  prepared: ClaimReference[] = [];
  unprepared: ClaimReference[] = [];
  readonly #servers: DraServer[] = [];

  constructor() {
    beforeEach(() => {
      this.root = temporaryFolder();
      this.kubelet = new DraKubelet(this.root);
      [this.logged, this.prepared, this.unprepared] = [[], [], []];
    });
    afterEach(async () => {
      this.kubelet.stop();
      for (const server of this.#servers.splice(0)) await server.close();
      removeTemporaryFolder(this.root);
    });
  }

  get registry(): string {
    return `${this.root}/plugins_registry`;
  }

  /** The lines above debug level. */
  get notable(): string[] {
    return this.logged.filter((line) => !line.startsWith("debug"));
  }

  /** A server that prepares every claim, unless a test says otherwise; it is not started. */
  newServer(own: Partial<DraServerOptions> = {}): DraServer {
    const write =
      (level: string) =>
      (message: string, fields = {}) =>
        void this.logged.push(`${level} ${message} ${JSON.stringify(fields)}`);
    const server = new DraServer({
      driver,
      instance: "",
      paths: kubeletPaths(this.root),
      log: { info: write("info"), warn: write("warn"), debug: write("debug") },
      prepare: async (claim) => {
        this.prepared.push(claim);
        return [aPreparedDevice(claim)];
      },
      unprepare: (claim) => void this.unprepared.push(claim),
      ...own,
    });
    this.#servers.push(server);
    return server;
  }

  /** Starts the kubelet and a server, and waits until that is registered. */
  async register(own: Partial<DraServerOptions> = {}): Promise<DraServer> {
    this.kubelet.start();
    const server = this.newServer(own);
    server.start();
    await this.kubelet.waitForPlugins(driver);
    await until("it is connected", () => server.registration.state === "connected");
    return server;
  }

  /** Prepares a claim; a kubelet calls again while the plugin's socket comes and goes. */
  prepareInTheEnd(): Promise<void> {
    const prepare = async () => (await failureOf(this.kubelet.prepare(driver, aReference("a")))) === "";
    return until("a claim is prepared", prepare);
  }
}
