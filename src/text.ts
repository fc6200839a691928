// Texts that several folders need: a counted noun, the message of a caught value, a text on one line.

/** "1 device", "2 devices". */
export const counted = (count: number, noun: string): string => `${count} ${noun}${count === 1 ? "" : "s"}`;

/** The message of a caught value: anything can be thrown; what is thrown on purpose is an Error. */
export const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

/** Escapes what would break a line or a terminal: control characters, also those of Latin-1. */
export const oneLine = (text: string): string =>
  text.replaceAll(/\p{Cc}/gu, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`);
