// What can be called? Services as they are generated from proto/, and the types that follow from them.

/** How a message is written and read. */
export interface Codec<Message> {
  encode(message: Message): { finish(): Uint8Array };
  decode(bytes: Uint8Array): Message;
}

/** A method of a service. */
export interface Method {
  readonly name: string;
  // oxlint-disable-next-line typescript/no-explicit-any
  readonly requestType: Codec<any>;
  // oxlint-disable-next-line typescript/no-explicit-any
  readonly responseType: Codec<any>;
  readonly responseStream: boolean;
}

/** A service; its methods by the names that they have here. */
export interface Service {
  readonly fullName: string;
  readonly methods: Readonly<Record<string, Method>>;
}

/** What a method is asked. */
export type RequestOf<M extends Method> = M["requestType"] extends Codec<infer Request> ? Request : never;

/** What a method answers. */
export type AnswerOf<M extends Method> = M["responseType"] extends Codec<infer Answer> ? Answer : never;

/** Where a method is called: the request's :path. */
export const pathOf = ({ fullName }: Service, { name }: Method): string => `/${fullName}/${name}`;
