// What does a caught value say? Anything can be thrown; what is thrown on purpose is an Error.

export const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
