// How does the kubelet get at one pool? A gRPC server on a socket of its own, kept registered whatever happens: the
// kubelet restarts, sockets and folders are deleted, streams end, registrations are refused or hang.

import { chmodSync, existsSync, renameSync, rmSync } from "node:fs";
import type { Socket } from "node:net";
import {
  DevicePluginService,
  type AllocateRequest,
  type AllocateResponse,
  type Device,
  type DevicePluginOptions,
  type PreferredAllocationRequest,
  type PreferredAllocationResponse,
} from "./api/deviceplugin.ts";
import { type PluginInfo, RegistrationService, type RegistrationStatus } from "./api/pluginregistration.ts";
import { limits } from "../limits.ts";
import { messageOf } from "../text.ts";
import { BackOff } from "./back-off.ts";
import type { Connection } from "./grpc/connections.ts";
import { GrpcServer } from "./grpc/server.ts";
import { codeOf, status, StatusError } from "./grpc/status.ts";
import { absenceOf, type KubeletAbsence } from "./kubelet-absence.ts";
import { ListStreams } from "./list-streams.ts";
import { type KubeletPaths, type RegistrationMode, socketFolder } from "./paths.ts";
import { register } from "./register.ts";
import type { Registration, RegistrationState } from "./registration.ts";
import { identityOf } from "../fs/identity.ts";
import { dial, hiddenName, isListening, reappear, removeIf } from "../fs/socket-file.ts";
import { within } from "./within.ts";

/** What a plugin server tells of its life; each is one line of the operator's log. */
export interface PluginEvents {
  info(message: string, fields?: Record<string, unknown>): void;
  warn(message: string, fields?: Record<string, unknown>): void;
  debug(message: string, fields?: Record<string, unknown>): void;
}

/** What a plugin server needs to know. */
export interface PluginOptions {
  readonly resource: string;
  readonly socketName: string;
  readonly paths: KubeletPaths;
  readonly mode: RegistrationMode;
  readonly devices: readonly Device[];
  readonly allocate: (request: AllocateRequest) => AllocateResponse | Promise<AllocateResponse>;
  /** Whether the kubelet is to ask which devices it should take; it hears of it when the pool is registered. */
  readonly isPreferring: () => boolean;
  readonly prefer: (request: PreferredAllocationRequest) => PreferredAllocationResponse;
  readonly events: PluginEvents;
}

interface Bound {
  readonly server: GrpcServer;
  readonly identity: string;
}

/** After how long it is tried again when registering failed or the stream ended, in milliseconds: first, and at most. */
const retry = { first: 1000, most: 30_000 } as const;

/**
 * How long a kubelet that was told of the socket may take to open the stream, in milliseconds: first, and at most. Its
 * plugin manager looks once a second, and appearing anew while it registers would only make it begin again.
 */
const patience = { first: 10_000, most: 60_000 } as const;

/** How often it is looked whether the instance that serves the pool in our place still lives, in milliseconds. */
const standBy = 2000;

/**
 * How long the instance whose pool was taken may take to end its streams, in milliseconds. A kubelet that is called at its socket takes
 * their end for the end of the resource, ours included (kubernetes pkg/kubelet/cm/devicemanager/manager.go PluginDisconnected), so
 * the pool is registered after it; and once more where the end comes later.
 */
const takeOver = 1000;

/**
 * How long after the kubelet closed its connection it is called anew, in milliseconds: it marks the resource after that
 * (kubernetes pkg/kubelet/cm/devicemanager/plugin/v1beta1/client.go Disconnect).
 */
const marking = 50;

/** One pool's server. */
export class PluginServer {
  readonly #options: PluginOptions;
  readonly #folder: string;
  readonly #path: string;
  readonly #streams: ListStreams;
  readonly #backOff = new BackOff(retry.first, retry.most);
  readonly #patience = new BackOff(patience.first, patience.most);
  readonly #abort = new AbortController();
  #bound: Bound | null = null;
  #timer: Timer | null = null;
  #announcing: Promise<void> | null = null;
  #again = false;
  #announcedTo: string | null = null;
  /** The Register call that is running, and which kubelet it was sent to. */
  #registering: { readonly kubelet: string; readonly abort: AbortController } | null = null;
  #standingBy = false;
  /** Whether the kubelet listened before; only the first time is news. */
  #hasListened = false;
  readonly #absence: KubeletAbsence;
  #complaint: string | null = null;
  #standing: Omit<Registration, "streams"> = {
    state: "waiting",
    reason: null,
    since: Date.now(),
    registrations: 0,
    failures: 0,
    lastAt: null,
  };
  #toldPreferring: boolean | null = null;

  constructor(options: PluginOptions) {
    this.#options = options;
    this.#folder = socketFolder(options.paths, options.mode);
    this.#path = `${this.#folder}/${options.socketName}`;
    this.#absence = absenceOf(options.paths, (path) =>
      options.events.warn("kubelet is missing; pools are registered when it appears", {
        path,
        hint: "is the kubelet running, and is its folder mounted?",
      }),
    );
    this.#streams = new ListStreams(options.devices, {
      opened: () => {
        this.#backOff.reset();
        this.#patience.reset();
        this.#absence.present();
        this.#cancelRetry();
        this.#setState("listening");
        options.events[this.#hasListened ? "debug" : "info"]("kubelet connected", {
          resource: options.resource,
        });
        this.#hasListened = true;
        this.checkOptions();
      },
      closed: () => {
        if (this.#abort.signal.aborted) return;
        this.#setState("waiting", "it stopped listening");
        options.events.debug("kubelet disconnected", { resource: options.resource });
        // Should the kubelet have another one, it must have seen its end, too, before it hears of the pool anew.
        void this.#streams.close();
        this.#retryLater(this.#backOff.wait());
      },
      stalled: () => {
        options.events.warn("ListAndWatch stream stalled; closing it", { resource: options.resource });
      },
    });
  }

  /** Whether the socket in place is this server's: false when another instance put its own there. */
  get inPlace(): boolean {
    return this.#bound !== null && identityOf(this.#path) === this.#bound.identity;
  }

  /** How the pool stands with the kubelet. */
  get registration(): Registration {
    return { ...this.#standing, streams: this.#streams.size };
  }

  /** Whether our socket is in place, and the kubelet that is there now has been told of it. */
  get #isSettled(): boolean {
    const { mode, paths } = this.#options;
    return this.inPlace && (mode === "watcher" || identityOf(paths.kubeletSocket) === this.#announcedTo);
  }

  /** What the kubelet is told of the pool, and remembers until the pool is registered anew. */
  #tellOptions(): DevicePluginOptions {
    this.#toldPreferring = this.#options.isPreferring();
    return { preStartRequired: false, getPreferredAllocationAvailable: this.#toldPreferring };
  }

  /** Binds the socket and registers; gives up never, and never throws. */
  start(): Promise<void> {
    return this.#announce();
  }

  /** Sets the list of devices. */
  setDevices(devices: readonly Device[]): void {
    this.#streams.set(devices);
  }

  /** Registers the pool anew when the kubelet was told other options than those of now. */
  checkOptions(): void {
    if (this.#toldPreferring === null || this.#toldPreferring === this.#options.isPreferring()) return;
    // A kubelet that is about to open its stream is looked at again when it has.
    if (!this.#streams.hasKubeletStream) return;
    this.#toldPreferring = null;
    this.#options.events.info("registering the pool anew: its options changed", { resource: this.#options.resource });
    void this.#registerAnew("its options changed");
  }

  /**
   * Ends the streams and registers the pool once the kubelet has seen their end: it would take it for the end of the new
   * registration.
   */
  async #registerAnew(reason: string): Promise<void> {
    this.#setState("waiting", reason);
    this.#announcedTo = null;
    this.#cancelRetry();
    await this.#streams.close();
    if (this.#streams.hasKubeletStream) return;
    this.#cancelRetry();
    this.#retryLater(marking);
  }

  /**
   * Looks whether everything is still in place, after something changed in the kubelet's folders.
   *
   * Our socket may be gone (a starting kubelet wipes device-plugins), or the kubelet's may be another one than we
   * registered at.
   */
  check(): void {
    if (this.#abort.signal.aborted) return;
    const registering = this.#registering;
    // Its kubelet has gone: no answer will come.
    if (registering && identityOf(this.#options.paths.kubeletSocket) !== registering.kubelet) registering.abort.abort();
    if (this.#isSettled) return;
    if (this.inPlace && !existsSync(this.#options.paths.kubeletSocket)) return;
    this.#backOff.reset();
    void this.#announce();
  }

  /** Ends the streams, shuts the server down and removes the socket, unless another instance put its own there. */
  async close(): Promise<void> {
    this.#abort.abort();
    this.#cancelRetry();
    const bound = this.#bound;
    this.#bound = null;
    // Whatever becomes of the socket: the kubelet hears that the pool has ended.
    void this.#streams.close();
    try {
      if (bound) removeIf(this.#path, bound.identity);
    } finally {
      await bound?.server.close();
    }
  }

  #announce(): Promise<void> {
    if (this.#announcing) {
      this.#again = true;
      return this.#announcing;
    }
    this.#again = false;
    this.#announcing = this.#announceOnce()
      .then(
        (announced) => {
          this.#complaint = null;
          if (this.#standingBy) return standBy;
          return announced ? this.#patience.wait() : this.#backOff.wait();
        },
        (error: unknown) => {
          if (this.#abort.signal.aborted) return 0;
          const reason = messageOf(error);
          this.#refused(this.inPlace ? "refused" : "failed", reason);
          this.#complain(reason);
          return this.#backOff.wait();
        },
      )
      .then((wait) => {
        this.#announcing = null;
        if (this.#abort.signal.aborted) return undefined;
        const { kubeletSocket } = this.#options.paths;
        if (this.#streams.hasKubeletStream || existsSync(kubeletSocket)) this.#absence.present();
        else this.#absence.missing(kubeletSocket);
        if (this.#again && !this.#isSettled) return this.#announce();
        if (!this.#streams.hasKubeletStream || this.#standingBy) {
          // A shorter wait from before would register once more what the kubelet has just heard of.
          this.#cancelRetry();
          this.#retryLater(wait);
        }
        return undefined;
      });
    return this.#announcing;
  }

  /** Tells the kubelet of the socket; false when there is no kubelet to be told, or another instance has told it. */
  async #announceOnce(): Promise<boolean> {
    const { mode, paths, resource, socketName, events } = this.#options;
    if (!existsSync(this.#folder)) {
      this.#setState("waiting", `${this.#folder} is not there`);
      events.debug("waiting for the kubelet's folder", { resource, folder: this.#folder });
      return false;
    }
    const inPlace = identityOf(this.#path);
    const wasOurs = this.#bound !== null && inPlace === this.#bound.identity;
    if (this.#bound && inPlace !== null && !wasOurs && (await isListening(this.#path))) {
      if (!this.#standingBy) events.info("another instance serves the pool; standing by", { resource });
      this.#standingBy = true;
      this.#setState("standing by", "another instance serves the pool");
      if (mode === "legacy") await this.#giveWay(this.#bound.server);
      return false;
    }
    this.#standingBy = false;
    if (!wasOurs) {
      // Held open, its connection shows when the instance has given way.
      const predecessor = mode === "legacy" && inPlace !== null ? (await dial(this.#path)).socket : null;
      try {
        await this.#bind();
      } catch (error) {
        predecessor?.destroy();
        throw error;
      }
      if (predecessor) await this.#succeed(predecessor);
    }
    if (this.#abort.signal.aborted) return false;
    if (mode === "watcher") {
      if (wasOurs && !this.#streams.hasKubeletStream) reappear(this.#path, this.#folder);
      this.#announced();
      return true;
    }
    const kubelet = identityOf(paths.kubeletSocket);
    if (kubelet === null) {
      this.#setState("waiting", `${paths.kubeletSocket} is not there`);
      events.debug("waiting for the kubelet's socket", { resource, socket: paths.kubeletSocket });
      return false;
    }
    this.#announcedTo = kubelet;
    this.#streams.registerStarted();
    const abort = new AbortController();
    this.#registering = { kubelet, abort };
    try {
      const signal = AbortSignal.any([this.#abort.signal, abort.signal]);
      await register(paths.kubeletSocket, resource, socketName, this.#tellOptions(), signal);
    } catch (error) {
      // One that could not be reached is told at the next sign of it; one that took too long may still open its stream.
      if (codeOf(error) === status.UNAVAILABLE) this.#announcedTo = null;
      this.#streams.registerFinished(false);
      // Given up by us: the plugin ends, or the kubelet that was called has gone.
      if (abort.signal.aborted || this.#abort.signal.aborted) return false;
      throw error;
    } finally {
      this.#registering = null;
    }
    this.#confirmed();
    this.#streams.registerFinished(true);
    return true;
  }

  /**
   * Leaves the pool to the instance that took it. The kubelet would take our lists for the other's; the other waits for the end of our
   * connections. Not where the kubelet watches a folder: it ends our streams itself when it turns to the other, up to a second later
   * (kubernetes pkg/kubelet/pluginmanager/plugin_manager.go loopSleepDuration), and until then they are all that it has.
   */
  async #giveWay(server: GrpcServer): Promise<void> {
    await this.#streams.close();
    server.cut();
  }

  /** Waits until the instance whose pool was taken has ended its streams; where that takes long, registers once more after it. */
  async #succeed(predecessor: Socket): Promise<void> {
    const ended = new Promise<void>((resolve) => predecessor.once("close", () => resolve()));
    predecessor.resume();
    let isRegistered = false;
    void ended.then(() => {
      if (isRegistered && !this.#abort.signal.aborted) void this.#registerAnew("another instance ended");
    });
    this.#abort.signal.addEventListener("abort", () => predecessor.destroy());
    await within(
      ended.then(() => Bun.sleep(marking)),
      takeOver,
    );
    isRegistered = true;
  }

  /** Notes how the pool stands with the kubelet from now on. */
  #setState(state: RegistrationState, reason: string | null = null): void {
    const since = state === this.#standing.state ? this.#standing.since : Date.now();
    this.#standing = { ...this.#standing, state, reason, since };
  }

  /** The kubelet was told of the socket; a refusal stands until it answers otherwise. */
  #announced(): void {
    if (!this.#streams.hasKubeletStream && this.#standing.state !== "refused") this.#setState("announced");
  }

  #confirmed(): void {
    const { registrations } = this.#standing;
    this.#standing = { ...this.#standing, registrations: registrations + 1, lastAt: Date.now() };
    this.#setState(this.#streams.hasKubeletStream ? "listening" : "announced");
    const { events, resource } = this.#options;
    events[registrations === 0 ? "info" : "debug"]("registered the pool with the kubelet", { resource });
  }

  #refused(state: "refused" | "failed", reason: string): void {
    this.#standing = { ...this.#standing, failures: this.#standing.failures + 1 };
    if (!this.#streams.hasKubeletStream) this.#setState(state, reason);
  }

  /** Binds a new server under a hidden name and renames it into place; an earlier server is shut down. */
  async #bind(): Promise<void> {
    const earlier = this.#bound;
    const server = this.#newServer();
    const hidden = hiddenName(this.#folder);
    await server.listen(hidden);
    const identity = identityOf(hidden);
    if (this.#abort.signal.aborted || identity === null) {
      rmSync(hidden, { force: true });
      await server.close();
      if (!this.#abort.signal.aborted) throw new Error(`${this.#folder} was deleted while a socket was bound in it`);
      return;
    }
    try {
      // The kubelet is root; whatever the umask, nobody else is to connect.
      chmodSync(hidden, 0o600);
      renameSync(hidden, this.#path);
    } catch (cause) {
      rmSync(hidden, { force: true });
      await server.close();
      // Without the hidden name, which is another one at every try: the same trouble is told once.
      const { code } = cause as NodeJS.ErrnoException;
      throw new Error(
        `the socket can't be put at ${this.#path}: ${code ?? messageOf(cause)}; remove what stands there`,
        { cause },
      );
    }
    this.#bound = { server, identity };
    this.#announcedTo = null;
    if (earlier) {
      // Before it is registered anew, the kubelet must have seen the streams end: it would take their end for the end of the
      // new registration (kubernetes pkg/kubelet/cm/devicemanager/manager.go PluginDisconnected).
      void this.#streams.close();
      await earlier.server.close();
    }
  }

  #newServer(): GrpcServer {
    const { allocate, prefer, events, resource, mode } = this.#options;
    const server = new GrpcServer({
      requestBytes: limits.requestBytes.max,
      callsAtOnce: limits.callsAtOnce.max,
      connections: limits.connections.max,
      refused: (method, error) => events.warn(`${method} was refused`, { resource, reason: messageOf(error) }),
    });
    /** Whose options were asked for on them: the kubelet's, since nobody else has a use for that. */
    const asked = new WeakSet<Connection>();
    server.serve(DevicePluginService, {
      getDevicePluginOptions: (_, connection) => {
        asked.add(connection);
        this.#streams.optionsRequested();
        return this.#tellOptions();
      },
      listAndWatch: (stream) => {
        // Told where another instance's socket stood, and come to ours: its pool is the other's.
        if (this.#standingBy) stream.end(new StatusError(status.UNAVAILABLE, "another instance serves the pool"));
        else this.#streams.open(stream, asked.has(stream.connection));
      },
      allocate,
      getPreferredAllocation: prefer,
      preStartContainer: () => ({}),
    });
    if (mode === "watcher") {
      server.serve(RegistrationService, {
        getInfo: () => this.#info(),
        notifyRegistrationStatus: (request) => this.#notified(request),
      });
    }
    return server;
  }

  /** Tells who we are. A kubelet that asks is about to open the stream, and is given the time to. */
  #info(): PluginInfo {
    if (!this.#streams.hasKubeletStream) {
      this.#cancelRetry();
      this.#retryLater(this.#patience.wait());
    }
    return {
      type: "DevicePlugin",
      name: this.#options.resource,
      endpoint: this.#path,
      // As the upstream plugin: the kubelet needs v1beta1 among them.
      supportedVersions: ["v1alpha1", "v1beta1"],
    };
  }

  #notified({ pluginRegistered, error }: RegistrationStatus): Record<string, never> {
    const { events, resource } = this.#options;
    if (pluginRegistered) this.#confirmed();
    else {
      this.#refused("refused", error);
      events.warn("kubelet rejected the pool; retrying", { resource, reason: error });
      this.#cancelRetry();
      this.#retryLater(this.#backOff.wait());
    }
    return {};
  }

  #retryLater(wait: number): void {
    if (this.#timer !== null || this.#abort.signal.aborted) return;
    this.#timer = setTimeout(() => {
      this.#timer = null;
      if (!this.#streams.hasKubeletStream) void this.#announce();
    }, wait);
  }

  #cancelRetry(): void {
    if (this.#timer) clearTimeout(this.#timer);
    this.#timer = null;
  }

  /** Warns once a reason: a kubelet that is away for long is not news at every try. */
  #complain(reason: string): void {
    const { events, resource } = this.#options;
    events[reason === this.#complaint ? "debug" : "warn"]("cannot register the pool; retrying", {
      resource,
      reason,
    });
    this.#complaint = reason;
  }
}
