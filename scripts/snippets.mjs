// The TypeScript snippets of a Markdown file, as programs. A block fenced as ```ts runs as printed; one fenced as
// ```ts no-run is a signature or a fragment.
import { freshDatabase, isolated, service } from '@quorate/testing';
import ts from 'typescript';

/** The runnable snippets of a page: their code and the line on which each begins. */
export function snippetsOf(markdown) {
  const found = [];
  const lines = markdown.split('\n');
  for (let at = 0; at < lines.length; at++) {
    const fence = /^```(\w+)(.*)$/.exec(lines[at]);
    if (!fence) continue;
    const start = at + 1;
    while (at + 1 < lines.length && !lines[at + 1].startsWith('```')) at++;
    at++;
    const [, language, info] = fence;
    if (language === 'ts' && info.trim() === '')
      found.push({ line: start + 1, code: lines.slice(start, at).join('\n') });
    else if (language === 'ts' && info.trim() !== 'no-run') {
      throw new Error(
        `line ${start}: a ts block is fenced as \`ts\` or \`ts no-run\`, not ${JSON.stringify(info)}`,
      );
    }
  }
  return found;
}

/** A snippet as an ES module: the types are gone, the rest is as printed. */
export function toModule(code) {
  return ts.transpileModule(code, {
    compilerOptions: {
      target: ts.ScriptTarget.ES2022,
      module: ts.ModuleKind.ESNext,
      verbatimModuleSyntax: true,
    },
  }).outputText;
}

/** A snippet as a CommonJS program: imports become requires, and top-level awaits get a function around them. */
export function toCommonJs(code) {
  const requires = [];
  const body = toModule(code).replace(
    /^import\s+(?:([\w$]+)\s*,?\s*)?(?:\*\s+as\s+([\w$]+)|\{([^}]*)\})?\s*(?:from\s*)?(['"][^'"]+['"]);?$/gm,
    (_, byDefault, namespace, names, path) => {
      const source = `require(${path})`;
      if (byDefault) requires.push(`const ${byDefault} = ((m) => m.default ?? m)(${source});`);
      if (namespace) requires.push(`const ${namespace} = ${source};`);
      if (names) requires.push(`const {${names.replace(/(\w+)\s+as\s+(\w+)/g, '$1: $2')}} = ${source};`);
      if (!byDefault && !namespace && !names) requires.push(`${source};`);
      return '';
    },
  );
  const main = `(async () => {\n${body}\n})().catch((error) => { console.error(error); process.exitCode = 1; });`;
  return `'use strict';\n${requires.join('\n')}\n${main}\n`;
}

const SERVERS = {
  DATABASE_URL: async () => (await freshDatabase('postgres')).url,
  MYSQL_URL: async () => (await freshDatabase('mysql')).url,
  REDIS_URL: () => service('redis'),
  // Three that are independent of each other; they end with this process.
  REDIS_URLS: async () =>
    (await Promise.all([1, 2, 3].map(() => isolated('redis')))).map(({ url }) => url).join(),
  AMQP_URL: () => service('rabbitmq'),
  NATS_URL: () => service('nats'),
  MQTT_URL: () => service('mqtt'),
  ETCD_URL: () => service('etcd'),
};

/** The addresses of servers that a program reads from its environment, each of a server that is running. */
export async function environmentOf(code) {
  const environment = {};
  for (const [variable, provide] of Object.entries(SERVERS)) {
    if (code.includes(variable)) environment[variable] = await provide();
  }
  return environment;
}
