import { type Dialect, splitStatements } from '@quorate/sql';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';

test.each<[Dialect, string, string[]]>([
  ['postgres', 'select 1; select 2', ['select 1', 'select 2']],
  ['postgres', ';; select 1;;\n-- nothing; here\n', ['select 1']],
  [
    'postgres',
    `select ';', "a;b", 'it''s;', E'\\';'; select 2`,
    [`select ';', "a;b", 'it''s;', E'\\';'`, 'select 2'],
  ],
  ['postgres', `select '\\'; select 2`, [`select '\\'`, 'select 2']],
  ['postgres', 'select $$;$$, $t$ $$; $t$; x', ['select $$;$$, $t$ $$; $t$', 'x']],
  ['postgres', 'select a$1; select $1; select b$x$; y', ['select a$1', 'select $1', 'select b$x$', 'y']],
  ['postgres', 'a /* ; /* ; */ ; */ b; c', ['a /* ; /* ; */ ; */ b', 'c']],
  ['postgres', '-- why\nselect 1 -- because;\n; select 2', ['-- why\nselect 1', 'select 2']],
  ['postgres', 'select 1--2;\n+ 3', ['select 1--2;\n+ 3']],
  ['mysql', 'select 1--2; select 2', ['select 1--2', 'select 2']],
  ['mysql', `select '\\';', "\\";", \`a\\\`; select 2`, [`select '\\';', "\\";", \`a\\\``, 'select 2']],
  ['mysql', 'a # ; \n; b', ['a', 'b']],
  ['mysql', 'a /* ; /* ; */; b', ['a', 'b']],
  ['mysql', '/*!40101 set names utf8mb4 */; b', ['/*!40101 set names utf8mb4 */', 'b']],
])('%s: %s', (dialect, script, expected) => {
  expect(splitStatements(dialect, script)).toEqual(expected);
});

test.each<[Dialect, string, string]>([
  ['postgres', `select 1;\nselect 'x`, 'a string that begins on line 2'],
  ['postgres', `select "x`, 'a quoted name that begins on line 1'],
  ['postgres', 'select $a$ $$', 'a dollar-quoted string'],
  ['postgres', 'x /* /* */', 'a comment'],
  ['mysql', 'select `x', 'a quoted name'],
  ['mysql', `select 'x\\'`, 'a string'],
])('%s: %s is an error', (dialect, script, message) => {
  expect(() => splitStatements(dialect, script)).toThrow(message);
});

describe.each<Dialect>(['postgres', 'mysql'])('%s', (dialect) => {
  const pieces =
    dialect === 'postgres'
      ? ['select', "';'", `"a;"`, '$$ ; $$', '$q$ ; $$ $q$', '/* ; /* ; */ */ x', '$1', 'a$b', ',', "E'\\';'"]
      : ['select', "';'", `"a\\";"`, '`;`', '/* ; */ x', '?', 'a$b', ',', "'\\';'"];
  const statement = fc
    .array(fc.constantFrom(...pieces), { minLength: 1, maxLength: 6 })
    .map((words) => words.join(' '));

  test('statements that were joined are found again', () => {
    fc.assert(
      fc.property(
        fc.array(statement),
        fc.constantFrom(';', ' ;\n', ';;', '; -- ;\n'),
        (statements, separator) => {
          const found = splitStatements(dialect, statements.join(separator));
          expect(found.map((one) => one.replace(/^-- ;\n/, ''))).toEqual(statements);
        },
      ),
    );
  });

  test('any text is split or refused, in time that grows with its length', () => {
    fc.assert(
      fc.property(
        fc.string({
          unit: fc.constantFrom("'", ';', '"', '$', '`', '-', '/', '*', '#', '\\', '\n', ' ', 'a', 'E'),
          maxLength: 200,
        }),
        (script) => {
          try {
            for (const one of splitStatements(dialect, script)) expect(script).toContain(one);
          } catch (error) {
            expect(error).toMatchObject({ code: 'UNTERMINATED_SQL' });
          }
        },
      ),
      { numRuns: 1000 },
    );
  });
});
