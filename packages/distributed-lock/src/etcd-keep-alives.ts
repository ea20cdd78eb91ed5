import type { ILeaseKeepAliveRequest, ILeaseKeepAliveResponse, LeaseClient } from 'etcd3';
import { QuorateError } from '@quorate/runtime';

type Stream = Awaited<ReturnType<LeaseClient['leaseKeepAlive']>>;

interface Waiting {
  readonly resolve: (ttlSeconds: number) => void;
  readonly reject: (error: unknown) => void;
}

/** Renews leases over one stream, which is opened again when it breaks. */
export class KeepAlives {
  readonly #client: Pick<LeaseClient, 'leaseKeepAlive'>;
  /** Those of one lease in the order in which they asked. */
  readonly #waiting = new Map<string, Waiting[]>();
  #stream: Promise<Stream> | undefined;

  constructor(client: Pick<LeaseClient, 'leaseKeepAlive'>) {
    this.#client = client;
  }

  /** Renews a lease; resolves with its length in seconds, or zero when it is gone. */
  async keep(lease: string): Promise<number> {
    const stream = await this.#open();
    return new Promise((resolve, reject) => {
      const others = this.#waiting.get(lease);
      if (others === undefined) this.#waiting.set(lease, [{ resolve, reject }]);
      else others.push({ resolve, reject });
      const request: ILeaseKeepAliveRequest = { ID: lease };
      stream.write(request);
    });
  }

  close(): void {
    const stream = this.#stream;
    this.#fail(new QuorateError('LOCK_BACKEND', 'the stream of keep-alives was closed'));
    stream?.then(
      (open) => open.end(),
      () => undefined,
    );
  }

  #open(): Promise<Stream> {
    if (this.#stream !== undefined) return this.#stream;
    const opened = this.#client.leaseKeepAlive();
    this.#stream = opened;
    const broken = (error: unknown): void => {
      if (this.#stream === opened) this.#fail(error);
    };
    opened.then((stream) => {
      stream.on('data', ({ ID, TTL }: ILeaseKeepAliveResponse) => {
        const waiting = this.#waiting.get(ID);
        waiting?.shift()?.resolve(Number(TTL));
        if (waiting?.length === 0) this.#waiting.delete(ID);
      });
      stream.on('error', broken);
      stream.on('end', () =>
        broken(new QuorateError('LOCK_BACKEND', 'etcd ended the stream of keep-alives')),
      );
    }, broken);
    return opened;
  }

  #fail(error: unknown): void {
    this.#stream = undefined;
    const all = [...this.#waiting.values()].flat();
    this.#waiting.clear();
    for (const { reject } of all) reject(error);
  }
}
