import { identifierOption, systemRuntime } from '@quorate/runtime';
import type { SqlDatabase } from '@quorate/sql';
import { pgDatabase } from '@quorate/sql/pg';
import { createTransport, type Transport } from '@quorate/transport';
import { createTcpLink } from '@quorate/transport/tcp';
import pg from 'pg';
import { createHttp, type Http } from './http.js';
import { type ServiceName, SERVICES } from './names.js';

const CLOSE_WITHIN_MS = 5_000;

/** What a service builds on: its own database, its HTTP server, and the other services. */
export interface Service {
  readonly db: SqlDatabase;
  readonly http: Http;
  readonly transport: Transport;
  /** What to stop before the database goes; the last one first. */
  onClose(close: () => Promise<void>): void;
}

/**
 * Runs one service in this process until it is told to stop. It is configured by its environment:
 *
 * - `SHOP_DATABASE_URL`: the service's own database
 * - `SHOP_HTTP_PORT`: where its HTTP API listens
 * - `SHOP_NODES`: where the four services listen for each other, `order=127.0.0.1:4201,inventory=...`
 * - `SHOP_SECRET`: what the services prove to each other that they know
 */
export async function runService(
  name: ServiceName,
  description: string,
  setUp: (service: Service) => Promise<void>,
): Promise<void> {
  const nodes = nodesOf(variable('SHOP_NODES'));
  const pool = new pg.Pool({ connectionString: variable('SHOP_DATABASE_URL'), max: 12 });
  // An idle connection that breaks is replaced by the pool; whoever was using one gets the error itself.
  pool.on('error', () => {});
  const link = createTcpLink({
    self: name,
    clusterId: 'quorate-shop',
    listen: listenOn(nodes, name),
    peers: nodes,
    // A service that was killed is back within seconds: look for it often.
    reconnect: { maxMs: 500 },
    auth: { secret: variable('SHOP_SECRET') },
  });
  const transport = createTransport(link);
  const http = await createHttp(`${name} service`, description, async () => {
    await pool.query('select 1');
  });

  // Torn down in the reverse order: nobody new comes in, what is under way finishes, then the database goes.
  const closers: (() => Promise<void>)[] = [
    () => pool.end(),
    () => transport.close({ drainMs: 1_000 }),
    () => http.close(),
  ];
  stopWhenTold(closers);

  await setUp({ db: pgDatabase(pool), http, transport, onClose: (close) => void closers.push(close) });
  await transport.start();
  await http.listen({ host: '127.0.0.1', port: Number(variable('SHOP_HTTP_PORT')) });
  // Whoever started this process waits for this message.
  process.send?.('ready');
}

/** Stops on a signal, and when the process that started this one is gone, however it went. */
function stopWhenTold(closers: (() => Promise<void>)[]): void {
  let stopping = false;
  const stop = (): void => {
    if (stopping) return;
    stopping = true;
    systemRuntime.setTimer(CLOSE_WITHIN_MS, () => process.exit(1));
    void (async () => {
      for (const close of closers.splice(0).reverse()) await close();
    })().then(
      () => process.exit(0),
      (error: unknown) => {
        console.error(error);
        process.exit(1);
      },
    );
  };
  process.on('SIGTERM', stop).on('SIGINT', stop).on('disconnect', stop);
}

function variable(name: string): string {
  const value = process.env[name];
  if (value === undefined || value === '') throw new Error(`${name} is not set; see src/lib/service.ts`);
  return value;
}

/** Reads `order=127.0.0.1:4201,inventory=127.0.0.1:4202,...`. */
function nodesOf(text: string): ReadonlyMap<string, string> {
  const nodes = new Map<string, string>();
  for (const part of text.split(',')) {
    const [node, address] = part.split('=');
    nodes.set(identifierOption('SHOP_NODES', node), identifierOption('SHOP_NODES', address));
  }
  for (const name of SERVICES) {
    if (!nodes.has(name)) throw new Error(`SHOP_NODES does not say where ${name} is: ${text}`);
  }
  return nodes;
}

function listenOn(nodes: ReadonlyMap<string, string>, name: ServiceName): { host: string; port: number } {
  const { hostname, port } = new URL(`tcp://${nodes.get(name) ?? ''}`);
  return { host: hostname, port: Number(port) };
}
