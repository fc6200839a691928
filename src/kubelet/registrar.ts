// Keeps one pool registered: does what registration.ts decides, and reports the results.

import type { Socket } from "node:net";
import { identityOf } from "../fs/identity.ts";
import { dial } from "../fs/socket-file.ts";
import type { LogAt } from "../process/log-messages.ts";
import { messageOf } from "../text.ts";
import type { DevicePluginOptions } from "./api/deviceplugin.ts";
import { AttemptTimer, marking } from "./attempt-timer.ts";
import type { GrpcServer } from "./grpc/server.ts";
import { codeOf, status } from "./grpc/status-error.ts";
import { absenceOf, type KubeletAbsence } from "./kubelet-absence.ts";
import type { ListStreams } from "./list-streams.ts";
import type { KubeletPaths, RegistrationMode } from "./kubelet-paths.ts";
import type { PoolSocket } from "./pool-socket.ts";
import { register } from "./register.ts";
import {
  type AttemptFacts,
  decide,
  type Facts,
  nextStep,
  noProgress,
  type Progress,
  type Registration,
  type RegistrationEvent,
} from "./registration.ts";
import { within } from "./within.ts";

/** Where the events of a pool are logged. */
export type PoolLog = LogAt<"info" | "warn" | "debug">;

/** The pool to register, and its kubelet. */
export interface RegistrarOptions {
  readonly resource: string;
  readonly socketName: string;
  readonly paths: KubeletPaths;
  readonly mode: RegistrationMode;
  readonly log: PoolLog;
}

/** The parts of the pool's server. */
export interface RegistrarParts {
  readonly socket: PoolSocket<GrpcServer>;
  readonly streams: ListStreams;
  /** A server that does not listen yet. */
  readonly newServer: () => GrpcServer;
  /** The pool's options, as a kubelet is answered now. */
  readonly answerOptions: () => DevicePluginOptions;
}

/**
 * How long the instance whose pool was taken may take to end its streams, in milliseconds. A kubelet that is called at its socket takes
 * their end for the end of the resource, of this plugin too (kubernetes pkg/kubelet/cm/devicemanager/manager.go PluginDisconnected), so
 * the pool is registered after it; and once more where the end comes later.
 */
const takeOver = 1000;

/** The registration of one pool. */
export class Registrar {
  readonly #options: RegistrarOptions;
  readonly #parts: RegistrarParts;
  readonly #timer = new AttemptTimer(() => this.#on({ kind: "due" }));
  readonly #absence: KubeletAbsence;
  readonly #ended = new AbortController();
  #progress: Progress = noProgress;
  #counts = { since: Date.now(), registrations: 0, failures: 0, lastAt: null as number | null };
  /** The Register call that is running. */
  #call: AbortController | null = null;
  /** Why registering failed last: of each reason only the first failure is a warning. */
  #lastFailure: string | null = null;
  /** Why the kubelet rejected the pool last, since it confirmed it: likewise. */
  #lastRejection: string | null = null;

  constructor(options: RegistrarOptions, parts: RegistrarParts) {
    this.#options = options;
    this.#parts = parts;
    this.#absence = absenceOf(options.paths, (path) =>
      options.log.warn("kubelet is missing; pools are registered when it appears", {
        path,
        hint: "is the kubelet running, and is its folder mounted?",
      }),
    );
  }

  /** The registration as it is now. */
  get registration(): Registration {
    return { ...this.#progress.stage, ...this.#counts, streams: this.#parts.streams.size };
  }

  /** Whether another instance serves the pool. */
  get isStandby(): boolean {
    return this.#progress.stage.state === "standby";
  }

  get #isClosed(): boolean {
    return this.#ended.signal.aborted;
  }

  get #facts(): Facts {
    const { mode, paths } = this.#options;
    const { socket, streams } = this.#parts;
    return {
      mode,
      inPlace: socket.place === "ours",
      hasKubeletStream: streams.hasKubeletStream,
      kubelet: identityOf(paths.kubeletSocket),
    };
  }

  /** Binds the socket and registers, and keeps the pool registered until close(). Never throws. */
  start(): void {
    this.#on({ kind: "due" });
  }

  /** The kubelet's folders changed: its socket, or the pool's, may be gone or replaced. */
  foldersChanged(): void {
    if (this.#on({ kind: "foldersChanged" }).begins) this.#timer.resetBackOff();
  }

  /** The kubelet has opened its stream. */
  connected(): void {
    this.#timer.reset();
    this.#absence.present();
    this.#on({ kind: "connected" });
  }

  /** The kubelet's stream has ended. */
  disconnected(): void {
    this.#on({ kind: "disconnected" });
  }

  /** The kubelet called GetInfo. */
  infoRequested(): void {
    this.#on({ kind: "infoRequested" });
  }

  /** The kubelet confirmed the pool. */
  confirmed(): void {
    const { log, resource } = this.#options;
    const { registrations } = this.#counts;
    this.#counts = { ...this.#counts, registrations: registrations + 1, lastAt: Date.now() };
    this.#lastRejection = null;
    this.#on({ kind: "confirmed" });
    log[registrations === 0 ? "info" : "debug"]("registered the pool with the kubelet", { resource });
  }

  /** The kubelet rejected the pool. */
  rejected(reason: string): void {
    const { log, resource } = this.#options;
    this.#counts = { ...this.#counts, failures: this.#counts.failures + 1 };
    this.#on({ kind: "rejected", reason });
    log[reason === this.#lastRejection ? "debug" : "warn"]("kubelet rejected the pool; retrying", { resource, reason });
    this.#lastRejection = reason;
  }

  /** Ends the streams and registers the pool once the kubelet has seen their end: it would take it for the end of the new registration. */
  async registerAnew(reason: string): Promise<void> {
    this.#on({ kind: "renewalBegan", reason });
    await this.#parts.streams.close();
    this.#on({ kind: "streamsEnded" });
  }

  /** Ends attempts and waits; the socket and the streams are closed by their owners. */
  close(): void {
    this.#ended.abort();
    this.#call?.abort();
    this.#timer.set("nothing");
  }

  /** Notes an event, and does what follows from it. */
  #on(event: RegistrationEvent): { readonly begins: boolean } {
    if (this.#isClosed) return { begins: false };
    const { progress, wait, begins, givesUp } = decide(this.#progress, event, this.#facts);
    if (progress.stage.state !== this.#progress.stage.state) this.#counts.since = Date.now();
    this.#progress = progress;
    if (givesUp) this.#call?.abort();
    if (wait !== "unchanged") this.#timer.set(wait);
    if (begins) void this.#attempt();
    return { begins };
  }

  async #attempt(): Promise<void> {
    let isAnnounced = false;
    try {
      isAnnounced = await this.#takeSteps();
      this.#lastFailure = null;
    } catch (error) {
      this.#failed(messageOf(error));
    }
    if (this.#isClosed) return;
    const { hasKubeletStream, kubelet } = this.#facts;
    if (hasKubeletStream || kubelet !== null) this.#absence.present();
    else this.#absence.missing(this.#options.paths.kubeletSocket);
    this.#on({ kind: "attemptEnded", isAnnounced });
  }

  /** Takes the steps of one attempt; returns whether the kubelet can know of the socket now. Throws when a step fails. */
  async #takeSteps(): Promise<boolean> {
    const wasBound = this.#parts.socket.server !== null;
    for (let isNew = false; !this.#isClosed; isNew = true) {
      const { facts, occupant } = await this.#attemptFacts(wasBound, isNew);
      const step = nextStep(facts);
      if (step.kind !== "bind") occupant?.destroy();
      if (step.kind !== "standby") this.#on({ kind: "standbyEnded" });
      switch (step.kind) {
        case "wait":
          this.#wait(step.for);
          return false;
        case "standby":
          await this.#standBy();
          return false;
        case "bind":
          await this.#bind(occupant);
          break;
        case "announce":
          if (step.reappears) this.#parts.socket.reappear();
          this.#on({ kind: "announced" });
          return true;
        case "register":
          return this.#register(step.kubelet);
      }
    }
    return false;
  }

  #wait(missing: "folder" | "kubelet"): void {
    const { log, resource, paths } = this.#options;
    const { folder } = this.#parts.socket;
    const socket = paths.kubeletSocket;
    this.#on({ kind: "kubeletMissing", reason: `${missing === "folder" ? folder : socket} is missing` });
    if (missing === "folder") log.debug("waiting for the kubelet's folder", { resource, folder });
    else log.debug("waiting for the kubelet's socket", { resource, socket });
  }

  /** The facts for the next step, and the connection to the process that listens at the path instead. */
  async #attemptFacts(
    wasBound: boolean,
    isNew: boolean,
  ): Promise<{ readonly facts: AttemptFacts; readonly occupant: Socket | null }> {
    const { mode } = this.#options;
    const place = this.#parts.socket.place;
    const isProbed = !isNew && place === "foreign" && (wasBound || mode === "legacy");
    const { listens, socket } = isProbed ? await dial(this.#parts.socket.path) : { listens: false, socket: null };
    const { hasFolder } = this.#parts.socket;
    return { facts: { ...this.#facts, hasFolder, place, isServed: listens, wasBound, isNew }, occupant: socket };
  }

  /** Binds a new server's socket; where another instance's was there, waits until that one has ended its streams. */
  async #bind(occupant: Socket | null): Promise<void> {
    // Held open, its connection shows when the instance has left the pool. A kubelet that watches the folder turns to us by itself.
    const predecessor = this.#options.mode === "legacy" ? occupant : null;
    if (!predecessor) occupant?.destroy();
    try {
      const earlier = await this.#parts.socket.bind(this.#parts.newServer());
      if (this.#isClosed) throw new Error("the pool server was closed while its socket was bound");
      this.#on({ kind: "bound" });
      if (earlier) {
        // Before the pool is registered again, the kubelet must have seen the streams end: it would take their end for the end of the
        // new registration (kubernetes pkg/kubelet/cm/devicemanager/manager.go PluginDisconnected).
        void this.#parts.streams.close();
        await earlier.close();
      }
    } catch (error) {
      predecessor?.destroy();
      throw error;
    }
    if (predecessor) await this.#takeOver(predecessor);
  }

  /** Waits until the instance whose pool was taken has ended its streams; where that takes long, registers once more after it. */
  async #takeOver(predecessor: Socket): Promise<void> {
    const ended = new Promise<void>((resolve) => predecessor.once("close", () => resolve()));
    predecessor.resume();
    let isLate = false;
    void ended.then(() => {
      if (isLate && !this.#isClosed) void this.registerAnew("another instance ended");
    });
    this.#ended.signal.addEventListener("abort", () => predecessor.destroy());
    await within(
      ended.then(() => Bun.sleep(marking)),
      takeOver,
    );
    isLate = true;
  }

  /**
   * Leaves the pool to the instance that took it. A kubelet that is called at its socket would take our lists for the other's, and the
   * other waits for the end of our connections. Not so one that watches a folder: it ends our streams itself when it turns to the other,
   * up to a second later (kubernetes pkg/kubelet/pluginmanager/plugin_manager.go loopSleepDuration), and until then it has only those.
   */
  async #standBy(): Promise<void> {
    const { mode, resource, log } = this.#options;
    if (!this.isStandby) log.info("another instance serves the pool; on standby", { resource });
    this.#on({ kind: "standbyBegan" });
    if (mode !== "legacy") return;
    await this.#parts.streams.close();
    this.#parts.socket.server?.cut();
  }

  /** Calls Register; returns whether the kubelet confirmed the pool, false when the call was given up. */
  async #register(kubelet: string): Promise<boolean> {
    // Closed while the facts were read: close() gives up only a call that is running.
    if (this.#isClosed) return false;
    const { paths, resource, socketName } = this.#options;
    const call = new AbortController();
    this.#call = call;
    this.#on({ kind: "callBegan", kubelet });
    this.#parts.streams.registerStarted();
    try {
      await register(paths.kubeletSocket, resource, socketName, this.#parts.answerOptions(), call.signal);
    } catch (error) {
      // A kubelet that took too long may still open its stream.
      this.#on({ kind: "callEnded", isReached: codeOf(error) !== status.UNAVAILABLE });
      this.#parts.streams.registerFinished(false);
      if (call.signal.aborted) return false;
      throw error;
    } finally {
      this.#call = null;
    }
    this.#on({ kind: "callEnded", isReached: true });
    this.confirmed();
    this.#parts.streams.registerFinished(true);
    return true;
  }

  #failed(reason: string): void {
    if (this.#isClosed) return;
    const { log, resource } = this.#options;
    this.#counts = { ...this.#counts, failures: this.#counts.failures + 1 };
    this.#on({ kind: "attemptFailed", reason });
    log[reason === this.#lastFailure ? "debug" : "warn"]("cannot register the pool; retrying", { resource, reason });
    this.#lastFailure = reason;
  }
}
