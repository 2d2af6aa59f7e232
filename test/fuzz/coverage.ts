/**
 * Coverage for the fuzzer: modules of src/ that are imported after `countBranches` count how often each of their branches
 * is taken. Counters are put into the text as it is loaded, on the lines where the branches are, so that stack traces
 * stay right. V8's own coverage would do without, but takes a millisecond to read; this takes a microsecond an input.
 */
import { readFileSync } from 'node:fs';
import { registerHooks, stripTypeScriptTypes } from 'node:module';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';

export type Coverage = {
  /** Forgets what the last input did. */
  reset(): void;
  /** Whether an input since `reset` has taken a branch, or one about so often, as none before it; remembers it. */
  isNew(): boolean;
  /** Where all branches are that were loaded, and those that were never taken: `src/x509/der.ts:12`. */
  sum(): { all: string[]; untaken: string[] };
};

const most = 65_536;
const project = new URL('../../', import.meta.url).href;
const counted = /^(?:src\/.*|test\/fuzz\/targets\/self-test-parsers)\.ts$/;

/** Starts counting in this thread. */
export function countBranches(): Coverage {
  const hits = new Uint8Array(most);
  const seen = new Uint8Array(most);
  const places: string[] = [];
  (globalThis as { penstockHits?: Uint8Array }).penstockHits = hits;
  registerHooks({
    load(url, context, next) {
      const file = url.startsWith(project) ? url.slice(project.length) : '';
      if (!counted.test(file)) return next(url, context);
      const text = stripTypeScriptTypes(readFileSync(fileURLToPath(url), 'utf8'));
      const source = insertCounters(text, (line) => places.push(`${file}:${line}`) - 1);
      if (places.length > most) throw new RangeError('more branches than counters');
      return { format: 'module', source, shortCircuit: true };
    },
  });
  return {
    reset: () => hits.fill(0, 0, places.length),
    isNew() {
      let isNew = false;
      for (let index = 0; index < places.length; index++) {
        const times = hits[index]!; // below their number
        if (times === 0) continue;
        const bucket = times < 4 ? 1 << (times - 1) : times < 32 ? 8 : times < 128 ? 16 : 32;
        if ((seen[index]! & bucket) !== 0) continue;
        seen[index]! |= bucket;
        isNew = true;
      }
      return isNew;
    },
    sum: () => ({ all: places, untaken: places.filter((_, index) => seen[index] === 0) }),
  };
}

type Edit = { readonly at: number; readonly text: string };

/** The text with a counter in each branch; `register` gives each its number. */
function insertCounters(text: string, register: (line: number) => number): string {
  const edits: Edit[] = [];
  const insert = (at: number, inserted: string): void => {
    edits.push({ at, text: inserted });
  };
  const file = ts.createSourceFile('module.js', text, ts.ScriptTarget.Latest, false, ts.ScriptKind.JS);
  const start = (node: ts.Node): number => node.getStart(file);
  const count = (node: ts.Node): string =>
    `__hits[${register(file.getLineAndCharacterOfPosition(start(node)).line + 1)}]++`;

  const branch = (node: ts.Node, open: string, close: string): void => {
    insert(start(node), `${open}${count(node)}${open === '(' ? ',' : ';'}`);
    visit(node);
    insert(node.getEnd(), close);
  };
  const statement = (node: ts.Statement): void => {
    // A block counts for itself.
    if (ts.isBlock(node)) visit(node);
    else branch(node, '{', '}');
  };
  const expression = (node: ts.Expression): void => branch(node, '(', ')');
  const visit = (node: ts.Node): void => {
    if (ts.isBlock(node)) insert(start(node) + 1, `${count(node)};`);
    if (ts.isCaseOrDefaultClause(node)) {
      if (ts.isCaseClause(node)) visit(node.expression);
      const [head] = node.statements;
      if (head) insert(start(head), `${count(head)};`);
      node.statements.forEach(visit);
    } else if (ts.isIfStatement(node)) {
      visit(node.expression);
      statement(node.thenStatement);
      if (node.elseStatement) statement(node.elseStatement);
    } else if (ts.isConditionalExpression(node)) {
      visit(node.condition);
      expression(node.whenTrue);
      expression(node.whenFalse);
    } else if (ts.isBinaryExpression(node) && isShortCircuit(node.operatorToken.kind)) {
      visit(node.left);
      expression(node.right);
    } else if (ts.isIterationStatement(node, false)) {
      ts.forEachChild(node, (child) => (child === node.statement ? statement(node.statement) : visit(child)));
    } else if (ts.isArrowFunction(node) && !ts.isBlock(node.body)) {
      node.parameters.forEach(visit);
      expression(node.body);
    } else ts.forEachChild(node, visit);
  };
  visit(file);
  return `const __hits=globalThis.penstockHits;${splice(text, edits)}`;
}

function isShortCircuit(kind: ts.SyntaxKind): boolean {
  return (
    kind === ts.SyntaxKind.AmpersandAmpersandToken ||
    kind === ts.SyntaxKind.BarBarToken ||
    kind === ts.SyntaxKind.QuestionQuestionToken
  );
}

/** Edits at one place stay in the order in which they were made: what encloses another opens first and closes last. */
function splice(text: string, edits: readonly Edit[]): string {
  let result = '';
  let from = 0;
  for (const { at, text: inserted } of edits.toSorted((a, b) => a.at - b.at)) {
    result += text.slice(from, at) + inserted;
    from = at;
  }
  return result + text.slice(from);
}
