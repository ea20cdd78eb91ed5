// A process that starts servers, says which, and waits for its end.
import { dirname, join } from 'node:path';
import { isolated, startEmbeddedPostgres } from '@quorate/testing';
import { Redis } from 'ioredis';
import pg from 'pg';

if (process.argv[2] === 'starting') {
  await isolated('mysql');
}

const redis = await isolated('redis');
const postgres = await startEmbeddedPostgres();
const client = new pg.Client({ connectionString: postgres.url });
client.on('error', () => undefined);
await client.connect();
const { rows } = await client.query<{ pid: number; folder: string }>(
  `select pg_backend_pid() as pid, current_setting('data_directory') as folder`,
);
const cache = new Redis(redis.url, { retryStrategy: () => null });
cache.on('error', () => undefined);
const folders = [String((await cache.config('GET', 'dir'))[1]), dirname(join(rows[0]?.folder ?? '', '.'))];
console.log(JSON.stringify({ pids: [redis.pid, postgres.pid, rows[0]?.pid], folders }));
if (process.argv[2] === 'throw') throw new Error('as a crash does');
// The open connections keep this process alive.
