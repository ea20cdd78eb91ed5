// An import may only go to a floor below one's own. The floor of a package is the field `quorate.floor` of its
// package.json; docs/architecture.md explains them, and a test keeps the two in step.
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, relative, sep } from 'node:path';

const root = join(import.meta.dirname, '..');
const manifests = new Map();

function manifestIn(folder) {
  if (!manifests.has(folder)) {
    const file = join(folder, 'package.json');
    manifests.set(folder, existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : undefined);
  }
  return manifests.get(folder);
}

/** The workspace folder that holds a file: packages/x or examples/x. */
function workspaceOf(file) {
  const [kind, name] = relative(root, file).split(sep);
  return (kind === 'packages' || kind === 'examples') && name !== undefined
    ? join(root, kind, name)
    : undefined;
}

export const floors = {
  meta: {
    type: 'problem',
    docs: { description: 'forbid imports that do not go down a floor' },
    schema: [],
    messages: {
      climbs:
        '{{to}} is on floor {{toFloor}}: {{from}} on floor {{fromFloor}} may only import from floors below its own. ' +
        'Take a small interface instead, or join the two one floor up (docs/architecture.md).',
      noFloor: '{{name}} has no "quorate": { "floor": n } in its package.json.',
      leaves: 'This path leaves the package: import {{to}} by its name.',
      undeclared: '{{to}} is not among the dependencies of {{from}}: it would be bundled silently.',
    },
  },
  create(context) {
    const folder = workspaceOf(context.filename);
    const own = folder && manifestIn(folder);
    if (!own) return {};
    const inSource =
      relative(folder, context.filename).split(sep)[0] === 'src' &&
      own.private !== true &&
      !folder.includes('examples');

    function check(node) {
      const specifier = node?.value;
      if (typeof specifier !== 'string') return;
      if (specifier.startsWith('.')) {
        const target = workspaceOf(join(dirname(context.filename), specifier));
        if (target !== undefined && target !== folder) {
          context.report({ node, messageId: 'leaves', data: { to: manifestIn(target)?.name ?? target } });
        }
        return;
      }
      // Tests may reach for any package; what is published may not.
      const match = /^@quorate\/([^/]+)/.exec(specifier);
      if (!match || !inSource) return;
      const [to, name] = match;
      if (to === own.name) return;
      const other = manifestIn(join(root, 'packages', name));
      const fromFloor = own.quorate?.floor;
      const toFloor = other?.quorate?.floor;
      if (fromFloor === undefined || toFloor === undefined) {
        context.report({
          node,
          messageId: 'noFloor',
          data: { name: fromFloor === undefined ? own.name : to },
        });
      } else if (toFloor >= fromFloor) {
        context.report({ node, messageId: 'climbs', data: { to, toFloor, from: own.name, fromFloor } });
      }
      if (!own.dependencies?.[to] && !own.peerDependencies?.[to]) {
        context.report({ node, messageId: 'undeclared', data: { to, from: own.name } });
      }
    }

    return {
      ImportDeclaration: (node) => check(node.source),
      ExportAllDeclaration: (node) => check(node.source),
      ExportNamedDeclaration: (node) => check(node.source),
      ImportExpression: (node) => check(node.source),
      TSImportType: (node) => check(node.source ?? node.argument?.literal),
    };
  },
};
