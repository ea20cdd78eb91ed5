import { RuleTester } from 'eslint';
import { join } from 'node:path';
import { describe, it } from 'vitest';
import { floors } from '../eslint/floors.js';

RuleTester.describe = describe;
RuleTester.it = it;

const file = (path: string): string => join(import.meta.dirname, '..', path);

new RuleTester().run('quorate/floors', floors, {
  valid: [
    { filename: file('packages/transport/src/x.ts'), code: `import { backoff } from '@quorate/runtime';` },
    { filename: file('packages/transport/src/x.ts'), code: `import { y } from '@quorate/transport';` },
    { filename: file('packages/transport/src/x.ts'), code: `import { y } from './core/y.js';` },
    { filename: file('packages/transport/test/x.ts'), code: `import { y } from '@quorate/tcc-saga';` },
    { filename: file('examples/shop/src/x.ts'), code: `import { y } from '@quorate/tcc-saga';` },
  ],
  invalid: [
    {
      filename: file('packages/runtime/src/x.ts'),
      code: `import { y } from '@quorate/transport';`,
      errors: [{ messageId: 'climbs' }, { messageId: 'undeclared' }],
    },
    {
      filename: file('packages/transport/src/x.ts'),
      code: `export { y } from '@quorate/sql';`,
      errors: [{ messageId: 'climbs' }, { messageId: 'undeclared' }],
    },
    {
      filename: file('packages/transport/src/x.ts'),
      code: `const y = import('@quorate/tcc-saga/x');`,
      errors: [{ messageId: 'climbs' }, { messageId: 'undeclared' }],
    },
    {
      filename: file('packages/transport/src/x.ts'),
      code: `import { y } from '../../runtime/src/y.js';`,
      errors: [{ messageId: 'leaves' }],
    },
  ],
});
