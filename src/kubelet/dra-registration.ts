// Keeps a DRA driver registered with the kubelet, which watches plugins_registry for sockets and retries what failed by itself. It counts as
// registered as long as the kubelet has a connection; without one its socket appears anew from time to time.

import { isListening, removeAbandonedSockets } from "../fs/socket-file.ts";
import type { LogAt } from "../process/log-messages.ts";
import { messageOf } from "../text.ts";
import { AttemptTimer } from "./attempt-timer.ts";
import type { RegistrationStatus } from "./api/pluginregistration.ts";
import type { Connection } from "./grpc/connections.ts";
import type { GrpcServer } from "./grpc/server.ts";
import { PoolSocket } from "./pool-socket.ts";
import type { Registration, Stage, Wait } from "./registration.ts";

/** What is registered, and where. */
export interface DraRegistrationOptions {
  readonly driver: string;
  /** The kubelet's plugins_registry. */
  readonly folder: string;
  readonly socketName: string;
  /** Whether a file name is that of a socket of this driver, of any instance. */
  readonly isSocketName: (name: string) => boolean;
  readonly log: LogAt<"info" | "warn" | "debug">;
  /** A server that does not listen yet. */
  readonly newServer: () => GrpcServer;
  /** Is called whenever the kubelet has registered the driver. */
  readonly registered?: () => void;
}

/**
 * How long the kubelet may be without a connection before it counts as gone, in milliseconds: it connects again at once when one ends
 * (kubernetes pkg/kubelet/cm/dra/plugin/dra_plugin_manager.go HandleConn), as after half an hour without calls.
 */
const reconnection = 5000;

/** The registration of a driver, and its socket. */
export class DraRegistration {
  readonly #options: DraRegistrationOptions;
  readonly #socket: PoolSocket<GrpcServer>;
  readonly #timer = new AttemptTimer(() => void this.#attempt());
  /** Connections for a registration alone; the kubelet closes them after it. */
  readonly #registering = new WeakSet<Connection>();
  #stage: Stage = { state: "waiting", reason: null };
  #counts = { since: Date.now(), registrations: 0, failures: 0, lastAt: null as number | null };
  #isAttempting = false;
  /** Whether something changed since the attempt that is running began. */
  #isOutdated = false;
  #absence: Timer | null = null;
  /** Why registering failed last: of each reason only the first failure is a warning. */
  #lastFailure: string | null = null;
  #isClosed = false;

  constructor(options: DraRegistrationOptions) {
    this.#options = options;
    this.#socket = new PoolSocket(options.folder, options.socketName);
  }

  /** The socket's path. */
  get endpoint(): string {
    return this.#socket.path;
  }

  /** The registration as it is now; "connected" is a driver that the kubelet calls. `streams` are those of health. */
  state(streams: number): Registration {
    return { ...this.#stage, ...this.#counts, streams };
  }

  /** Binds the socket, and keeps the driver registered until close(). Never throws. */
  start(): void {
    void this.#attempt();
  }

  /** Checks whether the socket is still in place, after something changed in its folder. */
  check(): void {
    if (this.#isClosed || (this.#socket.place === "ours" && this.#stage.state !== "standby")) return;
    this.#timer.resetBackOff();
    void this.#attempt();
  }

  /** The plugin's info was requested on this connection: a registration begins. */
  infoRequested(connection: Connection): void {
    this.#registering.add(connection);
    if (!this.#isClosed && this.#stage.state !== "connected") this.#timer.set("patience");
  }

  /** The kubelet reports whether it registered the driver, and why not. */
  notified({ pluginRegistered, error }: RegistrationStatus, connection: Connection): void {
    if (this.#isClosed) return;
    this.#registering.add(connection);
    const { driver, log, registered } = this.#options;
    if (!pluginRegistered) {
      this.#failed({ state: "rejected", reason: error }, (level) =>
        log[level]("kubelet rejected the DRA driver; it will retry", { driver, reason: error }),
      );
      return;
    }
    const isFirst = this.#counts.registrations === 0;
    this.#counts = { ...this.#counts, registrations: this.#counts.registrations + 1, lastAt: Date.now() };
    this.#lastFailure = null;
    this.#timer.reset();
    this.#timer.set("nothing");
    this.#enter({ state: "connected", reason: null });
    log[isFirst ? "info" : "debug"]("registered the DRA driver with the kubelet", { driver });
    this.connectionsChanged();
    registered?.();
  }

  /** A connection was established or closed. */
  connectionsChanged(): void {
    const isPresent = this.#isClosed || this.#stage.state !== "connected" || this.#kubeletConnections > 0;
    if (isPresent) {
      if (this.#absence) clearTimeout(this.#absence);
      this.#absence = null;
      return;
    }
    this.#absence ??= setTimeout(() => this.#disconnected(), reconnection);
  }

  /** Removes the socket, unless another instance put its own there, and shuts its server down. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#timer.set("nothing");
    this.connectionsChanged();
    await this.#socket.close();
  }

  get #kubeletConnections(): number {
    const open = this.#socket.server?.connections ?? [];
    return open.filter((connection) => !this.#registering.has(connection)).length;
  }

  #disconnected(): void {
    this.#absence = null;
    this.#enter({ state: "waiting", reason: "the kubelet has disconnected" });
    this.#options.log.debug("kubelet disconnected from the DRA driver", { driver: this.#options.driver });
    void this.#attempt();
  }

  #enter(stage: Stage): void {
    if (stage.state !== this.#stage.state) this.#counts.since = Date.now();
    this.#stage = stage;
  }

  #failed(stage: Stage & { readonly reason: string }, log: (level: "warn" | "debug") => void): void {
    this.#counts = { ...this.#counts, failures: this.#counts.failures + 1 };
    this.#enter(stage);
    log(stage.reason === this.#lastFailure ? "debug" : "warn");
    this.#lastFailure = stage.reason;
  }

  /** Puts the socket in place; one attempt at a time, and one more when something changed meanwhile. */
  async #attempt(): Promise<void> {
    this.#isOutdated = true;
    if (this.#isAttempting) return;
    this.#isAttempting = true;
    let wait: Wait | "nothing" = "nothing";
    while (this.#isOutdated && !this.#isClosed) {
      this.#isOutdated = false;
      this.#timer.set("nothing");
      wait = await this.#tryStep();
    }
    this.#isAttempting = false;
    if (!this.#isClosed && this.#stage.state !== "connected") this.#timer.set(wait);
  }

  async #tryStep(): Promise<Wait | "nothing"> {
    try {
      return await this.#takeStep();
    } catch (error) {
      if (this.#isClosed) return "nothing";
      const { driver, log } = this.#options;
      const reason = messageOf(error);
      this.#failed({ state: "failed", reason }, (level) =>
        log[level]("cannot register the DRA driver; retrying", { driver, reason }),
      );
      return "backOff";
    }
  }

  async #takeStep(): Promise<Wait | "nothing"> {
    const { driver, folder, isSocketName, log, newServer } = this.#options;
    const socket = this.#socket;
    if (!socket.hasFolder) {
      log.debug("waiting for the kubelet's folder", { folder });
      this.#enter({ state: "waiting", reason: `${folder} is missing` });
      return "backOff";
    }
    const wasBound = socket.server !== null;
    if (wasBound && socket.place === "foreign" && (await isListening(socket.path))) {
      if (this.#stage.state !== "standby") log.info("another instance serves the DRA driver; on standby", { driver });
      this.#enter({ state: "standby", reason: null });
      return "standby";
    }
    if (socket.place === "ours") {
      if (this.#stage.state === "connected") return "nothing";
      socket.reappear();
    } else {
      if (!wasBound) await removeAbandonedSockets(folder, isSocketName);
      const earlier = await socket.bind(newServer());
      if (this.#isClosed) return "nothing";
      this.#enter({ state: "announced", reason: null });
      await earlier?.close();
    }
    // The kubelet's answer may be here already.
    const { state } = this.#stage as Stage;
    if (state === "waiting" || state === "failed" || state === "standby")
      this.#enter({ state: "announced", reason: null });
    return "patience";
  }
}
