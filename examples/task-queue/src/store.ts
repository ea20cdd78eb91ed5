import type { Answer, Question } from './protocol.js';

/** The tasks, and what became of them: what the lock protects. It takes no write with a fence below one that it has seen. */
export class TaskStore {
  readonly done: { readonly task: number; readonly fence: number; readonly worker: string }[] = [];
  /** Writes of former holders. */
  readonly refused: { readonly task: number; readonly fence: number; readonly worker: string }[] = [];
  #fence = 0;

  constructor(readonly tasks: number) {}

  answer(worker: string, question: Question): Answer {
    const { fence } = question;
    const stale = fence < this.#fence;
    this.#fence = Math.max(this.#fence, fence);
    if (question.type === 'next') {
      const next = this.done.length + 1;
      return { task: next > this.tasks ? undefined : next };
    }
    (stale ? this.refused : this.done).push({ task: question.task, fence, worker });
    return { accepted: !stale };
  }

  /** What is wrong: every task must be done once, in order, under fences that rise. */
  audit(): string[] {
    const faults: string[] = [];
    if (this.done.length !== this.tasks)
      faults.push(`${String(this.done.length)} of ${String(this.tasks)} tasks were done`);
    let last = 0;
    for (const [at, { task, fence, worker }] of this.done.entries()) {
      if (task !== at + 1) faults.push(`${worker} did task ${String(task)} as number ${String(at + 1)}`);
      if (fence <= last)
        faults.push(`task ${String(task)} was done under fence ${String(fence)} after ${String(last)}`);
      last = fence;
    }
    return faults;
  }
}
