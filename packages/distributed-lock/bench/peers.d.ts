// What is used of peers whose own declarations do not resolve here.
declare module 'redlock4' {
  export default class Redlock {
    constructor(clients: readonly object[], options: { readonly retryCount: number });
    lock(key: string, ttlMs: number): Promise<{ unlock(): Promise<void> }>;
  }
}
declare module 'redlock5' {
  export default class Redlock {
    constructor(clients: readonly object[], options: { readonly retryCount: number });
    on(event: 'error', listen: () => void): this;
    acquire(keys: readonly string[], ttlMs: number): Promise<{ release(): Promise<unknown> }>;
  }
}
