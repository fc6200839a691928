// How does the kubelet get at the DRA driver? Registration, NodePrepareResources, NodeUnprepareResources and the health of devices, all on
// one socket in plugins_registry.

import type { ClaimReference, PreparedClaimDevice } from "../allocation/claim.ts";
import { limits } from "../limits.ts";
import { draSocketName, isDraSocketName } from "../pools/dra-names.ts";
import type { LogAt } from "../process/log-messages.ts";
import { messageOf } from "../text.ts";
import {
  type Claim,
  DRAPluginService,
  type NodePrepareResourceResponse,
  type NodeUnprepareResourceResponse,
} from "./api/dra.ts";
import { DRAResourceHealthService } from "./api/drahealth.ts";
import { DRAResourceHealthService as EarlierHealthService } from "./api/drahealthv1alpha1.ts";
import { RegistrationService } from "./api/pluginregistration.ts";
import { DraRegistration } from "./dra-registration.ts";
import { GrpcServer } from "./grpc/server.ts";
import type { DeviceState } from "./health-list.ts";
import { HealthStreams } from "./health-streams.ts";
import { type KubeletPaths, socketNameLimit } from "./kubelet-paths.ts";
import type { Registration } from "./registration.ts";

/** What a DRA server needs. */
export interface DraServerOptions {
  readonly driver: string;
  /** What distinguishes this instance from another one that serves the driver during an update: the pod's UID; "" where there is never one. */
  readonly instance: string;
  readonly paths: KubeletPaths;
  readonly log: LogAt<"info" | "warn" | "debug">;
  /** Prepares a claim, also one that is prepared. Rejects with why it can't, as a sentence; must not change anything after `signal`. */
  readonly prepare: (claim: ClaimReference, signal: AbortSignal) => Promise<readonly PreparedClaimDevice[]>;
  /** Makes a claim unprepared, also one that is not prepared. Throws when it can't. */
  readonly unprepare: (claim: ClaimReference) => void;
  /** Is called whenever the kubelet has registered the driver. */
  readonly registered?: () => void;
  /** How long a call to prepare may take, in milliseconds; 40 s where it is missing. */
  readonly prepareLimit?: number;
  /** For how long the health of devices counts, in seconds; a minute where it is missing. */
  readonly healthTimeout?: number;
}

/** The kubelet gives up after 45 s (kubernetes pkg/kubelet/cm/dra/plugin/dra_plugin.go defaultClientCallTimeout). */
const usualPrepareLimit = 40_000;

const usualHealthTimeout = 60;

/** How many claims of a call are prepared at the same time: each is a request to the API server. */
const claimsAtOnce = 16;

/**
 * What the kubelet may call: the names are not those of the gRPC services throughout (k8s.io/kubelet pkg/apis/dra/v1/types.go,
 * pkg/apis/dra-health/v1/types.go). Kubelets before 1.37 have health v1alpha1 alone, whose messages are the same.
 */
const supportedVersions = ["v1.DRAPlugin", "v1.DRAResourceHealth", "v1alpha1.DRAResourceHealth"];

/** The server of a DRA driver. */
export class DraServer {
  readonly #options: DraServerOptions;
  readonly #registration: DraRegistration;
  readonly #health: HealthStreams;
  /** Ends calls that are running when the server is closed. */
  readonly #ended = new AbortController();

  /** Throws when no socket's name fits into the kubelet's folder. */
  constructor(options: DraServerOptions) {
    const { driver, instance, paths, log, registered, healthTimeout: timeout = usualHealthTimeout } = options;
    this.#options = options;
    const limit = socketNameLimit(paths);
    const socketName = draSocketName(driver, instance, limit);
    if (socketName === null)
      throw new Error(
        `${paths.registry} is too long: a socket's path has at most ${limits.socketPath.max} bytes; move the kubelet's root directory`,
      );
    this.#registration = new DraRegistration({
      driver,
      folder: paths.registry,
      socketName,
      isSocketName: (name) => isDraSocketName(name, driver, limit),
      log,
      newServer: () => this.#newServer(),
      ...(registered && { registered }),
    });
    this.#health = new HealthStreams([], {
      timeout,
      stalled: () => log.warn("health stream stalled; closing it", { driver }),
    });
  }

  /** The driver's registration with the kubelet as it is now. */
  get registration(): Registration {
    return this.#registration.state(this.#health.size);
  }

  /** The path of the socket. */
  get endpoint(): string {
    return this.#registration.endpoint;
  }

  /** Binds the socket and keeps the driver registered until close(). Never throws. */
  start(): void {
    this.#registration.start();
  }

  /** Checks whether the socket is still in place, after something changed in the kubelet's folders. */
  check(): void {
    this.#registration.check();
  }

  /** Sets the health of all devices. */
  setHealth(devices: readonly DeviceState[]): void {
    this.#health.set(devices);
  }

  /** Ends calls and streams, removes the socket unless another instance put its own there, and shuts the server down. */
  async close(): Promise<void> {
    this.#ended.abort();
    this.#health.close();
    await this.#registration.close();
  }

  #newServer(): GrpcServer {
    const { driver, log } = this.#options;
    const server = new GrpcServer({
      requestBytes: limits.requestBytes.max,
      callsAtOnce: limits.callsAtOnce.max,
      connections: limits.connections.max,
      refused: (method, error) => log.warn(`${method} was refused`, { driver, reason: messageOf(error) }),
      connectionsChanged: () => this.#registration.connectionsChanged(),
    });
    server.serve(RegistrationService, {
      getInfo: (_, connection) => {
        this.#registration.infoRequested(connection);
        return { type: "DRAPlugin", name: driver, endpoint: this.#registration.endpoint, supportedVersions };
      },
      notifyRegistrationStatus: (status, connection) => {
        this.#registration.notified(status, connection);
        return {};
      },
    });
    server.serve(DRAPluginService, {
      nodePrepareResources: async ({ claims }) => ({ claims: await this.#prepareAll(claims) }),
      nodeUnprepareResources: ({ claims }) => ({ claims: this.#unprepareAll(claims) }),
    });
    server.serve(DRAResourceHealthService, { nodeWatchResources: (stream) => this.#health.open(stream) });
    server.serve(EarlierHealthService, { nodeWatchResources: (stream) => this.#health.open(stream) });
    return server;
  }

  /** An answer for every UID, whatever happens to the others: without one the kubelet would fail the pod for another reason. */
  async #prepareAll(claims: readonly Claim[]): Promise<Record<string, NodePrepareResourceResponse>> {
    const { prepareLimit = usualPrepareLimit } = this.#options;
    const call = new AbortController();
    const end = () => call.abort(new Error("the plugin is exiting; the kubelet calls the next one"));
    const limit = setTimeout(
      () =>
        call.abort(
          new Error(`the claim could not be prepared within ${prepareLimit / 1000} s; the kubelet will retry`),
        ),
      prepareLimit,
    );
    this.#ended.signal.addEventListener("abort", end);
    if (this.#ended.signal.aborted) end();
    try {
      const answers: [string, NodePrepareResourceResponse][] = [];
      const waiting = [...byUid(claims)];
      while (waiting.length > 0) {
        const next = waiting.splice(0, claimsAtOnce);
        const answered = next.map(([uid, named]) =>
          this.#prepareOne(named, call.signal).then((answer) => [uid, answer] as const),
        );
        for (const [uid, answer] of await Promise.all(answered)) answers.push([uid, answer]);
      }
      // Unlike an assignment, which "__proto__" would not come through.
      return Object.fromEntries(answers);
    } finally {
      clearTimeout(limit);
      this.#ended.signal.removeEventListener("abort", end);
    }
  }

  async #prepareOne(named: readonly Claim[], signal: AbortSignal): Promise<NodePrepareResourceResponse> {
    try {
      signal.throwIfAborted();
      const { promise: aborted, reject } = Promise.withResolvers<never>();
      const abort = () => reject(signal.reason);
      signal.addEventListener("abort", abort);
      try {
        const devices = await Promise.race([this.#options.prepare(oneOf(named), signal), aborted]);
        return { devices: devices.map(deviceAnswer), error: "" };
      } finally {
        signal.removeEventListener("abort", abort);
      }
    } catch (error) {
      return { devices: [], error: reasonOf(error) };
    }
  }

  #unprepareAll(claims: readonly Claim[]): Record<string, NodeUnprepareResourceResponse> {
    const answers = [...byUid(claims)].map(([uid, named]) => {
      try {
        this.#options.unprepare(oneOf(named));
        return [uid, { error: "" }] as const;
      } catch (error) {
        return [uid, { error: reasonOf(error) }] as const;
      }
    });
    return Object.fromEntries(answers);
  }
}

const byUid = (claims: readonly Claim[]): Map<string, Claim[]> => Map.groupBy(claims, ({ uid }) => uid);

/** The claim that a call names, once or several times. */
function oneOf([claim, ...more]: readonly Claim[]): ClaimReference {
  if (!claim) throw new Error("no claim is named");
  if (more.some(({ namespace, name }) => namespace !== claim.namespace || name !== claim.name))
    throw new Error(`UID ${JSON.stringify(claim.uid)} is that of several claims of the call`);
  return claim;
}

const deviceAnswer = ({ requestNames, poolName, deviceName, cdiDeviceIds, shareId }: PreparedClaimDevice) => ({
  requestNames: [...requestNames],
  poolName,
  deviceName,
  cdiDeviceIds: [...cdiDeviceIds],
  shareId: shareId ?? undefined,
});

/** An empty error would be success to the kubelet. */
const reasonOf = (error: unknown): string => messageOf(error).slice(0, 4096).toWellFormed() || "unknown error";
