import type { IncomingMessage, ServerResponse } from 'node:http';
import swagger from '@fastify/swagger';
import swaggerUi from '@fastify/swagger-ui';
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox';
import { Ajv, type ErrorObject } from 'ajv';
import Fastify, {
  type FastifyBaseLogger,
  type FastifyError,
  type FastifyInstance,
  type RawServerDefault,
} from 'fastify';
import { Type } from 'typebox';

/** A Fastify server whose handlers get their types from the routes' schemas. */
export type Http = FastifyInstance<
  RawServerDefault,
  IncomingMessage,
  ServerResponse,
  FastifyBaseLogger,
  TypeBoxTypeProvider
>;

/** What every answer other than a success looks like. */
export const Problem = Type.Object(
  {
    code: Type.String({ description: 'Stable and machine-readable' }),
    message: Type.String(),
    fields: Type.Optional(
      Type.Array(Type.Object({ field: Type.String(), problem: Type.String() }), {
        description: 'Which fields do not fit, and why',
      }),
    ),
  },
  { description: 'What went wrong' },
);

/** An answer with a status of its own, thrown from a handler. */
export class HttpProblem extends Error {
  constructor(
    readonly statusCode: number,
    readonly code: string,
    message: string,
    readonly fields?: readonly { readonly field: string; readonly problem: string }[],
  ) {
    super(message);
  }
}

/** A server with `/health`, an OpenAPI page at `/docs`, and errors that say which field is wrong. */
export async function createHttp(
  title: string,
  description: string,
  healthy: () => Promise<void>,
): Promise<Http> {
  const http: Http = Fastify({
    logger: { level: 'warn' },
    bodyLimit: 64 * 1024,
    // A client that keeps its connection open must not hold up a service that is told to stop.
    forceCloseConnections: true,
  }).withTypeProvider<TypeBoxTypeProvider>();

  // A body is JSON and has types: "5" is not 5, and a field that nobody knows is a mistake worth telling. What
  // comes in a URL is text, so there numbers are read from it.
  const bodies = new Ajv({ allErrors: true, coerceTypes: false });
  const texts = new Ajv({ allErrors: true, coerceTypes: true, useDefaults: true });
  http.setValidatorCompiler(({ schema, httpPart }) =>
    (httpPart === 'body' ? bodies : texts).compile(schema as object),
  );
  http.setErrorHandler((error: FastifyError | HttpProblem, request, reply) => {
    if (error instanceof HttpProblem) {
      const { code, message, fields } = error;
      return reply.code(error.statusCode).send({ code, message, ...(fields !== undefined && { fields }) });
    }
    if (error.validation !== undefined) {
      const fields = error.validation.map((one) => explain(one as ErrorObject));
      const part = error.validationContext ?? 'request';
      const message = fields.map(({ field, problem }) => `${field} ${problem}`).join('; ');
      return reply.code(400).send({ code: 'INVALID_REQUEST', message: `${part}: ${message}`, fields });
    }
    const status = error.statusCode ?? 500;
    if (status < 500) return reply.code(status).send({ code: error.code, message: error.message });
    request.log.error(error);
    return reply.code(500).send({ code: 'INTERNAL', message: 'The service failed; its log says why.' });
  });
  http.setNotFoundHandler((request, reply) =>
    reply.code(404).send({ code: 'NOT_FOUND', message: `There is no ${request.method} ${request.url}.` }),
  );

  await http.register(swagger, { openapi: { info: { title, description, version: '1.0.0' } } });
  await http.register(swaggerUi, { routePrefix: '/docs' });
  http.get(
    '/health',
    {
      schema: {
        summary: 'Whether the service and its database work',
        response: { 200: Type.Object({ status: Type.Literal('ok'), pid: Type.Integer() }), 503: Problem },
      },
    },
    async () => {
      try {
        await healthy();
      } catch (error) {
        throw new HttpProblem(503, 'UNHEALTHY', (error as Error).message);
      }
      return { status: 'ok' as const, pid: process.pid };
    },
  );
  return http;
}

/** A validation error as a person reads it: the field by its path, and what is wrong with it. */
function explain({ instancePath, keyword, params, message = 'does not fit' }: ErrorObject): {
  field: string;
  problem: string;
} {
  const path = instancePath.slice(1).split('/').filter(Boolean);
  if (keyword === 'required') {
    return { field: [...path, String(params['missingProperty'])].join('/'), problem: 'is missing' };
  }
  if (keyword === 'additionalProperties') {
    return {
      field: [...path, String(params['additionalProperty'])].join('/'),
      problem: 'is not a known field',
    };
  }
  return { field: path.join('/') || '(the whole)', problem: message };
}
