// How does a call end? gRPC's status codes and messages as they travel (grpc/grpc doc/statuscodes.md, doc/PROTOCOL-HTTP2.md).

/** gRPC's status codes by name. */
export const status = {
  OK: 0,
  CANCELLED: 1,
  UNKNOWN: 2,
  INVALID_ARGUMENT: 3,
  DEADLINE_EXCEEDED: 4,
  NOT_FOUND: 5,
  ALREADY_EXISTS: 6,
  PERMISSION_DENIED: 7,
  RESOURCE_EXHAUSTED: 8,
  FAILED_PRECONDITION: 9,
  ABORTED: 10,
  OUT_OF_RANGE: 11,
  UNIMPLEMENTED: 12,
  INTERNAL: 13,
  UNAVAILABLE: 14,
  DATA_LOSS: 15,
  UNAUTHENTICATED: 16,
} as const;

/** The number of a status; a peer may send others than are known. */
export type StatusCode = number;

const names: ReadonlyMap<StatusCode, string> = new Map(Object.entries(status).map(([name, code]) => [code, name]));

/** "13 INTERNAL". */
export const describeStatus = (code: StatusCode): string => `${code} ${names.get(code) ?? "(no known status)"}`;

/** An error that the caller gets with this status, or that the called one gave. */
export class StatusError extends Error {
  override readonly name = "StatusError";
  readonly code: StatusCode;

  constructor(code: StatusCode, message: string) {
    super(message);
    this.code = code;
  }
}

/** The status of whatever was thrown: INTERNAL when it says no other. */
export const codeOf = (error: unknown): StatusCode => (error instanceof StatusError ? error.code : status.INTERNAL);

/** A `grpc-message`: UTF-8, percent-encoded but for printable ASCII without "%". */
export const encodeMessage = (text: string): string =>
  text
    .toWellFormed()
    .replace(/[^ -$&-~]+/g, (part) =>
      [...Buffer.from(part)].map((byte) => `%${byte.toString(16).toUpperCase().padStart(2, "0")}`).join(""),
    );

/** The text of a `grpc-message`; what is not percent-encoding stays as it is, as the protocol asks. */
export function decodeMessage(encoded: string): string {
  const bytes = encoded.replace(/%([0-9a-fA-F]{2})/g, (_, hex: string) => String.fromCharCode(parseInt(hex, 16)));
  return Buffer.from(bytes, "latin1").toString();
}
