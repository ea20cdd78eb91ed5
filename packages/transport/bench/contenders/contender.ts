/** A way for two processes to talk, as the benchmark drives it: an echo of bytes, and messages that are counted. */
export interface Contender {
  /** Starts to answer requests with their bodies, and calls `received` for each one-way message. */
  serve(received: () => void): Promise<Endpoint>;
  /** Connects to what `serve` returned. */
  connect(port: number): Promise<Client>;
}

export interface Endpoint {
  readonly port: number;
}

export interface Client {
  /** Resolves when the echo is back. */
  request(): Promise<unknown>;
  /** Sends one message. False: not accepted, or better not followed by another before `ready`. */
  send(): boolean;
  /** Resolves when more messages can be sent. */
  ready(): Promise<void>;
}

/** Every request and every message carries this many bytes. */
export const BODY_BYTES = 256;
export const BODY: Uint8Array = new Uint8Array(BODY_BYTES).fill(97);
/** The same for those that only take JSON. */
export const TEXT: string = 'a'.repeat(BODY_BYTES);
