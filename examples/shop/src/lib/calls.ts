import type { RequestContext, Transport, Unsubscribe } from '@quorate/transport';
import type { TSchema } from 'typebox';
import { Compile } from 'typebox/compile';

const encoder = new TextEncoder();
const decoder = new TextDecoder('utf-8', { fatal: true });

/** A request and its answer as JSON: the channel's name, and how to read both. */
export interface Call<Question, Answer> {
  readonly channel: string;
  readonly readQuestion: (bytes: Uint8Array) => Question;
  readonly readAnswer: (bytes: Uint8Array) => Answer;
}

/** Describes a call. The schemas have to be those of `Question` and `Answer`. */
export function defineCall<Question, Answer>(
  channel: string,
  question: TSchema,
  answer: TSchema,
): Call<Question, Answer> {
  const read = {
    question: reader(`a question on ${channel}`, question),
    answer: reader(`an answer on ${channel}`, answer),
  };
  return {
    channel,
    readQuestion: (bytes) => read.question(bytes) as Question,
    readAnswer: (bytes) => read.answer(bytes) as Answer,
  };
}

/** Answers `call` with what `handle` returns. A question of another shape is an error at the caller. */
export function answer<Question, Answer>(
  transport: Transport,
  call: Call<Question, Answer>,
  handle: (question: Question, request: RequestContext) => Promise<Answer>,
): Unsubscribe {
  return transport.respond(call.channel, async (request) =>
    encoder.encode(JSON.stringify(await handle(call.readQuestion(request.body), request))),
  );
}

/** Makes a function that asks `call` of the service `to`. It throws what the transport throws. */
export function ask<Question, Answer>(
  transport: Transport,
  to: string,
  call: Call<Question, Answer>,
): (question: Question, options: { timeoutMs: number; signal: AbortSignal }) => Promise<Answer> {
  return async (question, options) => {
    const body = encoder.encode(JSON.stringify(question));
    return call.readAnswer(await transport.request(to, call.channel, body, options));
  };
}

/** What came over the network is checked before anything believes its type. */
function reader(what: string, schema: TSchema): (bytes: Uint8Array) => unknown {
  const validator = Compile(schema);
  return (bytes) => {
    const value: unknown = JSON.parse(decoder.decode(bytes));
    if (validator.Check(value)) return value;
    const [first] = validator.Errors(value);
    throw new Error(`${what} does not fit: ${first?.instancePath ?? ''} ${first?.message ?? ''}`);
  };
}
