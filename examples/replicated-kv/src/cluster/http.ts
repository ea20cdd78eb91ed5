import { deadline, systemRuntime } from '@quorate/runtime';

/** How a node says that it stands. */
export interface NodeStatus {
  readonly id: string;
  readonly pid: number;
  readonly role: string;
  readonly term: number;
  readonly leader?: string;
  readonly commit: number;
  readonly applied: number;
  readonly first: number;
  readonly last: number;
  readonly membership: { readonly voters: readonly string[]; readonly learners: readonly string[] };
}

/** A call that did not succeed. */
export class CallError extends Error {
  constructor(
    message: string,
    readonly code: string,
    /** Whether it certainly had no effect. */
    readonly definite: boolean,
  ) {
    super(message);
  }
}

/** An answer that the API gives: its status, and its body. */
export interface Answer<T> {
  readonly status: number;
  readonly body: T;
}

/**
 * Asks a node. Answers below 400, and those about the state of a key (404, 412), are returned; all else is a
 * {@link CallError}. An answer that was lost leaves the outcome open; a connection that was refused does not.
 */
export async function call<T>(
  url: string,
  { method = 'GET', body, timeoutMs = 7_000 }: { method?: string; body?: unknown; timeoutMs?: number } = {},
): Promise<Answer<T>> {
  using limit = deadline(systemRuntime, timeoutMs, { what: url });
  let response: Response;
  let content: unknown;
  try {
    response = await fetch(url, {
      method,
      signal: limit.signal,
      ...(body !== undefined && {
        body: JSON.stringify(body),
        headers: { 'content-type': 'application/json' },
      }),
    });
    content = await response.json();
  } catch (error) {
    const code = codeOf(error);
    throw new CallError(`${url} did not answer`, code, code === 'ECONNREFUSED');
  }
  if (response.ok || response.status === 404 || response.status === 412) {
    return { status: response.status, body: content as T };
  }
  const { code = 'ERROR', message = '', definite = false } = content as Partial<CallError>;
  throw new CallError(message, code, definite);
}

/** How a node stands; nothing where it does not answer. */
export async function statusOf(url: string): Promise<NodeStatus | undefined> {
  try {
    return (await call<NodeStatus>(`${url}/status`, { timeoutMs: 1_000 })).body;
  } catch {
    return undefined;
  }
}

/** The node that leads by the account of the nodes, in the latest term that any of them knows. */
export async function leaderOf(urls: ReadonlyMap<string, string>): Promise<string | undefined> {
  const all = await Promise.all([...urls.values()].map(statusOf));
  const leaders = all.filter((one) => one?.role === 'leader');
  return leaders.sort((one, other) => (other?.term ?? 0) - (one?.term ?? 0))[0]?.id;
}

function codeOf(error: unknown): string {
  for (let one = error; one instanceof Error; one = one.cause) {
    if ('code' in one && typeof one.code === 'string') return one.code;
  }
  return 'NETWORK';
}
