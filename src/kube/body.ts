// How is an answer's body read? Never more of it than a limit, and never half a line for a whole one.

/** A body that is longer than it may be, or no text. */
export class BodyError extends Error {
  override readonly name = "BodyError";
}

/** Text of UTF-8 pieces; throws BodyError for other bytes. */
function textOf(pieces: readonly Uint8Array[]): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(Buffer.concat(pieces));
  } catch (cause) {
    throw new BodyError("the answer is not UTF-8", { cause });
  }
}

/** A whole body of at most `max` bytes; throws BodyError for a longer one. */
export async function readBody(body: ReadableStream<Uint8Array> | null, max: number): Promise<string> {
  const pieces: Uint8Array[] = [];
  let length = 0;
  for await (const piece of body ?? []) {
    length += piece.length;
    if (length > max) throw new BodyError(`the answer has more than ${max} bytes`);
    pieces.push(piece);
  }
  return textOf(pieces);
}

/** The beginning of a body, at most `max` bytes of it; bytes that are no UTF-8 are replaced. */
export async function readBeginning(body: ReadableStream<Uint8Array> | null, max: number): Promise<string> {
  const pieces: Uint8Array[] = [];
  let length = 0;
  for await (const piece of body ?? []) {
    pieces.push(piece.subarray(0, max - length));
    length += piece.length;
    if (length >= max) break;
  }
  return new TextDecoder().decode(Buffer.concat(pieces));
}

const newline = 0x0a;

/**
 * Each line of a body, of at most `max` bytes without its newline. Throws BodyError for a longer one, and an Error when the body
 * ends in the middle of a line.
 */
export async function* linesOf(body: ReadableStream<Uint8Array> | null, max: number): AsyncGenerator<string> {
  let pieces: Uint8Array[] = [];
  let length = 0;
  const add = (piece: Uint8Array) => {
    length += piece.length;
    if (length > max) throw new BodyError(`a line has more than ${max} bytes`);
    if (piece.length > 0) pieces.push(piece);
  };
  for await (const piece of body ?? []) {
    let from = 0;
    for (let end = piece.indexOf(newline); end >= 0; end = piece.indexOf(newline, from)) {
      add(piece.subarray(from, end));
      const line = textOf(pieces);
      pieces = [];
      length = 0;
      from = end + 1;
      yield line;
    }
    add(piece.subarray(from));
  }
  if (length > 0) throw new Error("the connection ended in the middle of a line");
}
