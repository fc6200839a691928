// How does a call end? gRPC's status codes (grpc/grpc doc/statuscodes.md), and the error that carries one.

import { status } from "@grpc/grpc-js";
import { messageOf } from "../../text.ts";

export { status };

/** An error with a gRPC status: thrown by a handler, or the outcome of a call. */
export class StatusError extends Error {
  override readonly name = "StatusError";
  readonly code: status;

  constructor(code: status, message: string) {
    super(message);
    this.code = code;
  }
}

/** The status code of any thrown value: INTERNAL when it has none. */
export const codeOf = (error: unknown): status => (error instanceof StatusError ? error.code : status.INTERNAL);

/** Characters of an error message that are sent: headers above 64 KiB end a whole connection. */
const maxDetails = 4096;

/** The status that a caller receives for a thrown value. The text is well-formed UTF-16, as encodeURI in grpc-js requires. */
export const statusObjectOf = (error: unknown): { readonly code: status; readonly details: string } => ({
  code: codeOf(error),
  details: messageOf(error).slice(0, maxDetails).toWellFormed(),
});
