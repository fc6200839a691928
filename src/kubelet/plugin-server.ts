// How does the kubelet reach one pool? A gRPC server on a socket of its own, with the pool's list, kept registered whatever happens: the
// kubelet restarts, sockets and folders are deleted, streams end, registrations are refused or hang.

import { messageOf } from "../text.ts";
import type {
  AllocateRequest,
  AllocateResponse,
  Device,
  DevicePluginOptions,
  PreferredAllocationRequest,
  PreferredAllocationResponse,
} from "./api/deviceplugin.ts";
import type { GrpcServer } from "./grpc/server.ts";
import { status, StatusError } from "./grpc/status-error.ts";
import { ListStreams } from "./list-streams.ts";
import { socketFolder } from "./kubelet-paths.ts";
import { newPoolService } from "./pool-service.ts";
import { PoolSocket } from "./pool-socket.ts";
import { Registrar, type RegistrarOptions } from "./registrar.ts";
import type { Registration } from "./registration.ts";

/** What a plugin server needs. */
export interface PluginOptions extends RegistrarOptions {
  readonly devices: readonly Device[];
  readonly allocate: (request: AllocateRequest) => AllocateResponse | Promise<AllocateResponse>;
  /** Whether the kubelet is to call GetPreferredAllocation; it reads this when the pool is registered. */
  readonly isPreferring: () => boolean;
  readonly prefer: (request: PreferredAllocationRequest) => PreferredAllocationResponse;
}

/** One pool's server. */
export class PluginServer {
  readonly #options: PluginOptions;
  readonly #socket: PoolSocket<GrpcServer>;
  readonly #streams: ListStreams;
  readonly #registrar: Registrar;
  /** Whether the kubelet was connected before; only the first time is logged at info level. */
  #wasConnected = false;
  /** What the kubelet was answered about preferences; null until it is answered again. */
  #answeredPreferring: boolean | null = null;
  #isClosed = false;

  constructor(options: PluginOptions) {
    const { resource, socketName, paths, mode, devices, log } = options;
    this.#options = options;
    this.#socket = new PoolSocket(socketFolder(paths, mode), socketName);
    this.#streams = new ListStreams(devices, {
      opened: () => this.#connected(),
      closed: () => this.#disconnected(),
      stalled: () => log.warn("ListAndWatch stream stalled; closing it", { resource }),
    });
    this.#registrar = new Registrar(options, {
      socket: this.#socket,
      streams: this.#streams,
      newServer: () => this.#newServer(),
      answerOptions: () => this.#answerOptions(),
    });
  }

  /** Whether the socket in place is this server's: false when another instance put its own there. */
  get inPlace(): boolean {
    return this.#socket.place === "ours";
  }

  /** The pool's registration with the kubelet as it is now. */
  get registration(): Registration {
    return this.#registrar.registration;
  }

  /** Binds the socket and registers, and keeps the pool registered until close(). Never throws. */
  start(): void {
    this.#registrar.start();
  }

  /** Sets the list of devices. */
  setDevices(devices: readonly Device[]): void {
    this.#streams.set(devices);
  }

  /** Registers the pool again when its options are no longer those that the kubelet has. */
  checkOptions(): void {
    if (this.#answeredPreferring === null || this.#answeredPreferring === this.#options.isPreferring()) return;
    // A kubelet that is about to open its stream is checked when it has.
    if (!this.#streams.hasKubeletStream) return;
    this.#answeredPreferring = null;
    this.#options.log.info("re-registering the pool: its options changed", { resource: this.#options.resource });
    void this.#registrar.registerAnew("its options changed");
  }

  /** Checks whether everything is still in place, after something changed in the kubelet's folders: a starting kubelet wipes device-plugins. */
  check(): void {
    this.#registrar.foldersChanged();
  }

  /** Ends the streams, shuts the server down and removes the socket, unless another instance put its own there. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#registrar.close();
    // Whatever becomes of the socket: the kubelet sees that the pool has ended.
    void this.#streams.close();
    await this.#socket.close();
  }

  #connected(): void {
    const { log, resource } = this.#options;
    this.#registrar.connected();
    log[this.#wasConnected ? "debug" : "info"]("kubelet connected", { resource });
    this.#wasConnected = true;
    this.checkOptions();
  }

  #disconnected(): void {
    if (this.#isClosed) return;
    this.#registrar.disconnected();
    this.#options.log.debug("kubelet disconnected", { resource: this.#options.resource });
    // Should the kubelet have another stream, it must have seen the end of that, too, before the pool is registered again.
    void this.#streams.close();
  }

  /** The pool's options, which the kubelet keeps until the pool is registered again. */
  #answerOptions(): DevicePluginOptions {
    this.#answeredPreferring = this.#options.isPreferring();
    return { preStartRequired: false, getPreferredAllocationAvailable: this.#answeredPreferring };
  }

  #newServer(): GrpcServer {
    const { allocate, prefer, resource, mode, log } = this.#options;
    return newPoolService(mode, {
      info: () => {
        this.#registrar.infoRequested();
        return { resource, endpoint: this.#socket.path };
      },
      notified: ({ pluginRegistered, error }) =>
        pluginRegistered ? this.#registrar.confirmed() : this.#registrar.rejected(error),
      options: () => {
        this.#streams.optionsRequested();
        return this.#answerOptions();
      },
      listAndWatch: (stream, isKubelets) => {
        // A kubelet that was sent to where another instance's socket is, and connected here: its pool is the other's.
        if (this.#registrar.isStandby)
          stream.end(new StatusError(status.UNAVAILABLE, "another instance serves the pool"));
        else this.#streams.open(stream, isKubelets);
      },
      allocate,
      prefer,
      refused: (method, error) => log.warn(`${method} was refused`, { resource, reason: messageOf(error) }),
    });
  }
}
