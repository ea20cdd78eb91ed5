import type { Scenario } from '@quorate/simulator';
import { crashRun } from '../support/crash-run.js';

export const scenarios: readonly Scenario[] = [
  {
    name: 'durable-log-crash',
    async run({ seed }) {
      await crashRun({ seed, lives: 5 });
    },
  },
];
