// How does a method answer? Every handler runs in here, so that nothing it throws reaches the event loop: an
// unhandled rejection in a gRPC handler would end the process.

import { type handleUnaryCall, status } from "@grpc/grpc-js";
import { messageOf } from "../message-of.ts";

export { status };

/** An error that the caller gets with this status code. */
export class StatusError extends Error {
  override readonly name = "StatusError";
  readonly code: status;

  constructor(code: status, message: string) {
    super(message);
    this.code = code;
  }
}

/** A unary handler from a function that gives the answer or throws; errors of no known status are INTERNAL. */
export function unary<Request, Answer>(
  answer: (request: Request) => Answer | Promise<Answer>,
  failed: (error: unknown) => void,
): handleUnaryCall<Request, Answer> {
  return (call, callback) => {
    const refuse = (error: unknown) => {
      failed(error);
      callback({ code: error instanceof StatusError ? error.code : status.INTERNAL, details: messageOf(error) });
    };
    try {
      const given = answer(call.request);
      if (given instanceof Promise) given.then((value) => callback(null, value), refuse);
      else callback(null, given);
    } catch (error) {
      refuse(error);
    }
  };
}
