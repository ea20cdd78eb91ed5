import { describe, it } from 'vitest';
import { checkLocks } from './check-locks.js';

describe('locks on raft under faults', () => {
  // Among them 80, 322, 573, 619, 638, 790, 894 and 906: judged before their clients have given up what they asked for in vain,
  // they have claims that seem to wait for ever.
  it('locks-raft-3', () => checkLocks('locks-raft-3', 1_400));
});
