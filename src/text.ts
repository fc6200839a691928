// Texts that several folders need: a counted noun, the message or the stable reason of a caught value, a text on one line.

/** "1 device", "2 devices". */
export const counted = (count: number, noun: string): string => `${count} ${noun}${count === 1 ? "" : "s"}`;

/** The message of a caught value: anything can be thrown; what is thrown on purpose is an Error. */
export const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

/**
 * The reason of an error without what differs at every attempt, such as a temporary name in its message, so that the same reason can be
 * logged once: the system's code of the error or of its cause, else its message.
 */
export function stableReason(error: unknown): string {
  for (let each = error; each instanceof Error; each = each.cause) {
    const { code } = each as NodeJS.ErrnoException;
    if (typeof code === "string") return code;
  }
  return messageOf(error);
}

/** Escapes what would break a line or a terminal: control characters, also those of Latin-1. */
export const oneLine = (text: string): string =>
  text.replaceAll(/\p{Cc}/gu, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`);
