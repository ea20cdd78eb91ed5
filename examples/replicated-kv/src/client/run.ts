import { parseArgs } from 'node:util';
import { type Answer, call, CallError, leaderOf, statusOf } from '../cluster/http.js';
import { describe, watchLeader } from '../cluster/view.js';

/** How the client is used. */
const USAGE = `Speaks to a replicated key-value store.

  kv get KEY [--level linearizable|lease|stale]
  kv put KEY VALUE [--ttl MS]
  kv cas KEY EXPECTED VALUE       write where the value is the expected one; "" stands for no key
  kv delete KEY
  kv list [PREFIX]
  kv watch [PREFIX]               changes as they happen
  kv status                       how the nodes stand
  kv leader                       who leads, until Ctrl-C
  kv kill ID                      SIGKILL to a node on this machine; "leader" for the one that leads
  kv transfer ID                  hand leadership over

  --nodes URL,URL,...             where the nodes are (default http://127.0.0.1:5101 to 5103, or KV_NODES)

Exit codes: 0 done, 1 it did not happen or is not known to have, 2 a wrong command, 3 no such key or not the expected value.
`;

interface Item {
  readonly key: string;
  readonly value: string;
  readonly version: number;
}

/** Where the client prints to, and what ends it. */
export interface Terminal {
  out(line: string): void;
  err(line: string): void;
  readonly signal: AbortSignal;
}

const NODES = 'http://127.0.0.1:5101,http://127.0.0.1:5102,http://127.0.0.1:5103';

/** Runs one command of the client. Resolves to the exit code. */
export async function runClient(
  args: readonly string[],
  env: NodeJS.ProcessEnv,
  terminal: Terminal,
): Promise<number> {
  try {
    const { values, positionals } = parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        nodes: { type: 'string', default: env['KV_NODES'] ?? NODES },
        level: { type: 'string', default: 'linearizable' },
        ttl: { type: 'string' },
        help: { type: 'boolean', short: 'h', default: false },
      },
    });
    const urls = values.nodes.split(',').map((url) => url.replace(/\/$/, ''));
    if (values.help) positionals.length = 0;
    return await new Client(urls, terminal, values.level, values.ttl).run(positionals);
  } catch (error) {
    if (error instanceof CallError) {
      const outcome = error.definite
        ? 'It did not happen.'
        : 'It may have happened: look before you try again.';
      terminal.err(`${error.message} (${error.code}). ${outcome}`);
      return 1;
    }
    if (!(error instanceof TypeError)) throw error;
    terminal.err(`${error.message}\n\n${USAGE}`);
    return 2;
  }
}

class Client {
  constructor(
    readonly urls: readonly string[],
    readonly terminal: Terminal,
    readonly level: string,
    readonly ttl: string | undefined,
  ) {}

  async run([command, ...args]: readonly string[]): Promise<number> {
    const { terminal, level, ttl } = this;
    const [key = '', second, third] = args;
    const path = `/kv/${encodeURIComponent(key)}`;
    switch (command) {
      case 'get': {
        if (key === '') return this.usage(2);
        const { status, body } = await this.ask<Item>(`${path}?level=${level}`);
        if (status === 404) return this.missing(key);
        terminal.out(body.value);
        return 0;
      }
      case 'put': {
        if (key === '' || second === undefined) return this.usage(2);
        const options = ttl === undefined ? {} : { ttlMs: Number(ttl) };
        const { body } = await this.ask<Item>(path, { method: 'PUT', body: { value: second, ...options } });
        terminal.out(`version ${String(body.version)}`);
        return 0;
      }
      case 'cas': {
        if (key === '' || second === undefined || third === undefined) return this.usage(2);
        // Values are compared here; the version makes sure that nothing comes in between.
        const { status, body } = await this.ask<Item>(path);
        const there = status === 404 ? undefined : body;
        if ((there?.value ?? '') !== second) {
          terminal.err(
            there === undefined ? `There is no key ${key}.` : `It is ${JSON.stringify(there.value)}.`,
          );
          return 3;
        }
        const written = await this.ask<{ applied: boolean; version: number }>(path, {
          method: 'PUT',
          body: { value: third, ifVersion: there?.version ?? 0 },
        });
        if (!written.body.applied) terminal.err('Somebody else was faster.');
        else terminal.out(`version ${String(written.body.version)}`);
        return written.body.applied ? 0 : 3;
      }
      case 'delete':
        if (key === '') return this.usage(2);
        await this.ask(path, { method: 'DELETE' });
        return 0;
      case 'list': {
        const { body } = await this.ask<Item[]>(`/kv?prefix=${encodeURIComponent(key)}&level=${level}`);
        for (const item of body) terminal.out(`${item.key}\t${item.value}`);
        return 0;
      }
      case 'watch':
        return this.watch(key);
      case 'status':
        for (const line of describe(await this.statuses())) terminal.out(line);
        return 0;
      case 'leader': {
        const output = { write: (text: string) => terminal.out(text.trimEnd()) };
        await watchLeader(
          await this.named(),
          process.stdout.isTTY ? process.stdout : output,
          terminal.signal,
        );
        return 0;
      }
      case 'kill': {
        const all = await this.named();
        const id = key === 'leader' ? await leaderOf(all) : key;
        const pid = id === undefined ? undefined : (await statusOf(all.get(id) ?? ''))?.pid;
        if (id === undefined || pid === undefined) {
          terminal.err(`There is no node ${key} that answers.`);
          return 1;
        }
        process.kill(pid, 'SIGKILL');
        terminal.out(`killed ${id}, process ${String(pid)}`);
        return 0;
      }
      case 'transfer': {
        const leader = await leaderOf(await this.named());
        const url = leader === undefined ? undefined : (await this.named()).get(leader);
        if (url === undefined) throw new CallError('Nobody leads', 'NOT_LEADER', true);
        await call(`${url}/transfer`, { method: 'POST', body: { to: key } });
        terminal.out(`${key} leads`);
        return 0;
      }
      default:
        return this.usage(command === undefined ? 0 : 2);
    }
  }

  /** Asks one node after the other until one can be reached. An outcome that is open is not asked for again. */
  private async ask<T>(path: string, options?: Parameters<typeof call>[1]): Promise<Answer<T>> {
    let last: unknown;
    for (const url of this.urls) {
      try {
        return await call<T>(`${url}${path}`, options);
      } catch (error) {
        // A read may be asked again whatever became of it.
        const harmless = error instanceof CallError && (error.definite || options?.method === undefined);
        if (!harmless) throw error;
        last = error;
      }
    }
    throw last;
  }

  /** Follows the changes that one node applies, and goes on with another when it is gone. */
  private async watch(prefix: string): Promise<number> {
    for (const url of this.urls) {
      try {
        const response = await fetch(`${url}/watch?prefix=${encodeURIComponent(prefix)}`);
        const decoder = new TextDecoder();
        let text = '';
        for await (const chunk of response.body ?? []) {
          text += decoder.decode(chunk as Uint8Array, { stream: true });
          const events = text.split('\n\n');
          text = events.pop() ?? '';
          for (const event of events) this.terminal.out(event.replace(/^data: /, ''));
        }
      } catch {
        // The next one.
      }
      this.terminal.err(`${url} is gone; changes may have been missed`);
    }
    return 1;
  }

  private async statuses() {
    const all = await Promise.all(this.urls.map(async (url) => [url, await statusOf(url)] as const));
    return new Map(all.map(([url, status]) => [status?.id ?? url, status]));
  }

  /** The nodes by their names; one that does not answer is called by its address. */
  private async named(): Promise<Map<string, string>> {
    return new Map([...(await this.statuses()).keys()].map((id, at) => [id, this.urls[at] ?? '']));
  }

  private missing(key: string): number {
    this.terminal.err(`There is no key ${key}.`);
    return 3;
  }

  private usage(code: number): number {
    if (code === 0) this.terminal.out(USAGE);
    else this.terminal.err(USAGE);
    return code;
  }
}
