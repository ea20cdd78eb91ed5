import type { AppliedCommand, StateMachine } from '@quorate/replicated-log';

/** A state machine of tests: remembers every command as text, and answers with how many there were. */
export class Journal implements StateMachine<number, void, readonly string[]> {
  lines: string[] = [];
  /** What `apply` throws when it comes. */
  poison = 'poison';
  readonly results = {
    encode: (count: number) => Buffer.from(String(count)),
    decode: (bytes: Uint8Array) => Number(Buffer.from(bytes).toString()),
  };

  apply(commands: readonly AppliedCommand[]): readonly number[] {
    return commands.map(({ data }) => {
      const line = Buffer.from(data).toString();
      if (line === this.poison) throw new Error('cannot apply that');
      return this.lines.push(line);
    });
  }

  query(): readonly string[] {
    return this.lines;
  }

  async *snapshot(): AsyncGenerator<Uint8Array, void, undefined> {
    const frozen = [...this.lines];
    for (const line of frozen) yield await Promise.resolve(Buffer.from(`${line}\n`));
  }

  async restore(chunks: AsyncIterable<Uint8Array>): Promise<void> {
    const parts: Uint8Array[] = [];
    for await (const chunk of chunks) parts.push(chunk);
    this.lines = Buffer.concat(parts).toString().split('\n').slice(0, -1);
  }
}
