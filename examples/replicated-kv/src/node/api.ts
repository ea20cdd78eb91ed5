import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox';
import { ReplicatedLogError, type ReplicatedLog } from '@quorate/replicated-log';
import {
  createKvClient,
  type KvAnswer,
  type KvItem,
  type KvMachine,
  type KvQuery,
  type KvResult,
} from '@quorate/replicated-log/kv';
import { InvalidOptionError } from '@quorate/runtime';
import { Ajv } from 'ajv';
import Fastify, { type FastifyError } from 'fastify';
import { Type } from 'typebox';

const Key = Type.Object({ key: Type.String({ minLength: 1, maxLength: 1_024 }) });
const Level = Type.Union([Type.Literal('linearizable'), Type.Literal('lease'), Type.Literal('stale')], {
  default: 'linearizable',
});
const Version = Type.Integer({
  minimum: 0,
  description: 'Of the key as it was read; 0 where it is not there',
});
const Members = Type.Array(Type.String({ minLength: 1, maxLength: 255 }), { maxItems: 100 });

/** What each error of the log is as an answer: whoever asks again may hope, or has to look first. */
const STATUS: Readonly<Record<string, number>> = {
  TOO_LARGE: 413,
  CONFIG_INVALID: 400,
  CONFIG_PENDING: 409,
  UNKNOWN_OUTCOME: 504,
  TIMEOUT: 504,
};

export type Store = ReplicatedLog<KvResult, KvQuery, KvAnswer>;

/** The HTTP API of one node: keys and values, changes as they happen, and how the cluster stands. */
export function createApi(log: Store, machine: KvMachine, timeoutMs: number) {
  const http = Fastify({
    logger: { level: 'warn' },
    bodyLimit: 256 * 1_024,
    forceCloseConnections: true,
  }).withTypeProvider<TypeBoxTypeProvider>();
  // A body is JSON and has types: 5 is not "5". What comes in a URL is text, so there numbers are read from it.
  const bodies = new Ajv({ allErrors: true, coerceTypes: false });
  const texts = new Ajv({ allErrors: true, coerceTypes: true, useDefaults: true });
  http.setValidatorCompiler(({ schema, httpPart }) =>
    (httpPart === 'body' ? bodies : texts).compile(schema as object),
  );
  const kv = createKvClient(log);
  const within = { timeoutMs };

  http.setErrorHandler((error: FastifyError, _request, reply) => {
    if (error instanceof ReplicatedLogError) {
      const { code, message, definite, leader } = error;
      return reply.status(STATUS[code] ?? 503).send({ code, message, definite, leader });
    }
    if (error instanceof InvalidOptionError || error.validation !== undefined) {
      return reply.status(400).send({ code: 'INVALID_REQUEST', message: error.message, definite: true });
    }
    const status = error.statusCode ?? 500;
    if (status >= 500) http.log.error(error);
    return reply.status(status).send({ code: error.code, message: error.message, definite: status < 500 });
  });

  http.get(
    '/kv/:key',
    { schema: { params: Key, querystring: Type.Object({ level: Level }) } },
    async ({ params: { key }, query: { level } }, reply) => {
      const item = await kv.get(key, { level, ...within });
      if (item === undefined) return reply.status(404).send({ code: 'NOT_FOUND', message: `no key ${key}` });
      return shown(key, item);
    },
  );

  http.put(
    '/kv/:key',
    {
      schema: {
        params: Key,
        body: Type.Object({
          value: Type.String({ maxLength: 131_072 }),
          ttlMs: Type.Optional(Type.Integer({ minimum: 1 })),
          ifVersion: Type.Optional(Version),
        }),
      },
    },
    async ({ params: { key }, body: { value, ...options } }, reply) => {
      const result = await kv.put(key, value, { ...options, ...within });
      return reply.status(result.applied ? 200 : 412).send(result);
    },
  );

  http.delete(
    '/kv/:key',
    { schema: { params: Key, querystring: Type.Object({ ifVersion: Type.Optional(Version) }) } },
    async ({ params: { key }, query }, reply) => {
      const result = await kv.delete(key, { ...query, ...within });
      return reply.status(result.applied ? 200 : 412).send(result);
    },
  );

  http.get(
    '/kv',
    {
      schema: {
        querystring: Type.Object({
          prefix: Type.String({ default: '' }),
          after: Type.Optional(Type.String()),
          limit: Type.Integer({ minimum: 1, maximum: 1_000, default: 100 }),
          level: Level,
        }),
      },
    },
    async ({ query: { prefix, ...options } }) => {
      const items = await kv.list(prefix, { ...options, ...within });
      return items.map(([key, item]) => shown(key, item));
    },
  );

  // Server-sent events: one line of JSON for each change that this node applies.
  http.get(
    '/watch',
    { schema: { querystring: Type.Object({ prefix: Type.String({ default: '' }) }) } },
    async ({ query: { prefix }, raw }, reply) => {
      reply.hijack();
      reply.raw.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' });
      reply.raw.flushHeaders();
      const events = machine.watch(prefix)[Symbol.asyncIterator]();
      const end = (): void => void events.return?.();
      raw.on('close', end);
      log.stopped.addEventListener('abort', end);
      for (let next = await events.next(); next.done !== true; next = await events.next()) {
        const event = next.value;
        const line = event.type === 'put' ? { type: 'put', ...shown(event.key, event.item) } : event;
        if (!reply.raw.write(`data: ${JSON.stringify(line)}\n\n`)) {
          await new Promise((resolve) => reply.raw.once('drain', resolve).once('close', resolve));
        }
      }
      log.stopped.removeEventListener('abort', end);
      reply.raw.end();
    },
  );

  http.get('/status', () => {
    const { id, role, term, leader, commit, applied, first, last, membership } = log.status();
    return { id, pid: process.pid, role, term, leader, commit, applied, first, last, membership };
  });

  http.post(
    '/membership',
    { schema: { body: Type.Object({ voters: Members, learners: Type.Optional(Members) }) } },
    ({ body: { voters, learners = [] } }) => log.changeMembership({ voters, learners }, within),
  );

  http.post(
    '/transfer',
    { schema: { body: Type.Object({ to: Type.String({ minLength: 1, maxLength: 255 }) }) } },
    async ({ body: { to } }) => {
      await log.transferLeadership(to, within);
      return { leader: to };
    },
  );
  return http;
}

function shown(key: string, { value, version, expiresAtMs }: KvItem) {
  return {
    key,
    value: Buffer.from(value).toString(),
    version,
    ...(expiresAtMs !== undefined && { expiresAtMs }),
  };
}
