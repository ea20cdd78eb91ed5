// The clients of one store, in a process of their own that shares one connection among them.
import { type ClientHttp2Session, connect, constants } from 'node:http2';
import { once } from 'node:events';
import { systemRuntime } from '@quorate/runtime';
import { ByteWriter } from '@quorate/runtime/bytes';
import { createTransport } from '@quorate/transport';
import { createTcpLink } from '@quorate/transport/tcp';
import { TCP } from './address.js';

/** What the parent gives as the only argument, in JSON. */
export interface ClientArguments {
  readonly system: 'quorate' | 'etcd';
  readonly leader: string;
  readonly port: number;
}

/** What the parent asks for. */
export interface Load {
  readonly clients: number;
  readonly forMs: number;
}

/** What came of it. */
export interface LoadResult {
  readonly count: number;
  readonly ms: number;
  /** In milliseconds, of every put. */
  readonly latencies: readonly number[];
}

const KEYS = 10_000;
const VALUE = new Uint8Array(256).fill(7);
type Put = (key: string) => Promise<void>;

async function connectQuorate({ leader, port }: ClientArguments): Promise<Put> {
  const link = createTcpLink({ ...TCP, self: 'client', peers: { [leader]: `127.0.0.1:${port}` } });
  const transport = createTransport(link);
  await transport.start();
  await new Promise<void>((resolve) => {
    transport.onPeer(({ type }) => {
      if (type === 'up') resolve();
    });
  });
  return async (key) => {
    const body = new ByteWriter(300).string(key).raw(VALUE).finish();
    await transport.request(leader, 'put', body, { timeoutMs: 10_000 });
  };
}

/**
 * gRPC by hand over one HTTP/2 session: less work on this side than any library does, so that it is etcd that is
 * measured.
 */
async function connectEtcd({ port }: ClientArguments): Promise<Put> {
  const session = connect(`http://127.0.0.1:${port}`);
  await once(session, 'connect');
  return (key) => putOverGrpc(session, key);
}

/** `PutRequest { bytes key = 1; bytes value = 2 }` behind the five bytes of a gRPC message. */
function putRequest(key: string): Uint8Array {
  const message = new ByteWriter(300).u8(0x0a).string(key).u8(0x12).bytes(VALUE).finish();
  return new ByteWriter(300).u8(0).u32(message.length).raw(message).finish();
}

function putOverGrpc(session: ClientHttp2Session, key: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const stream = session.request({
      [constants.HTTP2_HEADER_METHOD]: 'POST',
      [constants.HTTP2_HEADER_PATH]: '/etcdserverpb.KV/Put',
      [constants.HTTP2_HEADER_CONTENT_TYPE]: 'application/grpc',
      [constants.HTTP2_HEADER_TE]: 'trailers',
    });
    let status: unknown;
    stream.on('trailers', (headers: Readonly<Record<string, unknown>>) => {
      status = headers['grpc-status'];
    });
    stream.on('error', reject);
    stream.on('end', () => {
      if (status === '0') resolve();
      else reject(new Error(`etcd answered with status ${String(status)}`));
    });
    stream.resume();
    stream.end(putRequest(key));
  });
}

async function load(put: Put, { clients, forMs }: Load): Promise<LoadResult> {
  const latencies: number[] = [];
  const startMs = systemRuntime.monotonic();
  const client = async (number: number): Promise<void> => {
    for (let at = number; ; at += clients) {
      const sentMs = systemRuntime.monotonic();
      if (sentMs - startMs >= forMs) return;
      await put(`key/${at % KEYS}`);
      latencies.push(systemRuntime.monotonic() - sentMs);
    }
  };
  await Promise.all(Array.from({ length: clients }, (_, number) => client(number)));
  return { count: latencies.length, ms: systemRuntime.monotonic() - startMs, latencies };
}

const given = JSON.parse(process.argv[2] ?? '') as ClientArguments;
const put = await (given.system === 'etcd' ? connectEtcd(given) : connectQuorate(given));
process.on('message', (wanted: Load) => {
  void load(put, wanted).then((result) => process.send?.(result));
});
process.on('disconnect', () => process.exit());
process.send?.('ready');
