/**
 * What can be broken in a source file: every place where one small change gives a program that does something else.
 *
 * Left alone are types, imports, messages of errors, strings, and what changes nothing: the order of the operands of a
 * symmetric function, the step of a for loop (it only hangs).
 */
import { parseAst } from 'vitest/node';

export type Kind =
  | 'arithmetic'
  | 'boundary'
  | 'comparison'
  | 'logical'
  | 'negated condition'
  | 'constant'
  | 'removed statement'
  | 'removed call'
  | 'swapped arguments';

export interface Mutant {
  /** Relative to the root of the project, with '/'. */
  readonly file: string;
  readonly kind: Kind;
  /** The text [start, end) becomes `replacement`. */
  readonly start: number;
  readonly end: number;
  readonly replacement: string;
  /** The expression or statement whose execution is the mutant's: where coverage is counted. */
  readonly site: { readonly start: number; readonly end: number; readonly statement: boolean };
}

/** A node of the syntax tree, as ESTree has it. */
interface Node {
  readonly type: string;
  readonly start: number;
  readonly end: number;
  readonly [key: string]: unknown;
}

const arithmetic: Record<string, string> = {
  '+': '-',
  '-': '+',
  '*': '/',
  '/': '*',
  '%': '*',
  '**': '*',
  '<<': '>>',
  '>>': '<<',
  '>>>': '<<',
  '&': '|',
  '|': '&',
  '^': '&',
  '+=': '-=',
  '-=': '+=',
  '*=': '/=',
  '/=': '*=',
  '<<=': '>>=',
  '>>=': '<<=',
  '>>>=': '<<=',
  '|=': '&=',
  '&=': '|=',
  '^=': '|=',
};
const boundary: Record<string, string> = { '<': '<=', '<=': '<', '>': '>=', '>=': '>' };
const comparison: Record<string, string> = { '<': '>=', '<=': '>', '>': '<=', '>=': '<', '===': '!==', '!==': '===' };
const logical: Record<string, string> = { '&&': '||', '||': '&&' };

/** Functions of two arguments that can be exchanged. */
const symmetric = new Set([
  'add',
  'and',
  'eq',
  'equal',
  'is',
  'max',
  'maximum',
  'min',
  'minimum',
  'mul',
  'ne',
  'or',
  'sameShape',
  'xor',
]);
/** Methods that give the receiver back, changed or in part. */
const dispensable = new Set([
  'abs',
  'fill',
  'filter',
  'flat',
  'normalize',
  'reverse',
  'slice',
  'sort',
  'subarray',
  'toLowerCase',
  'toReversed',
  'toSorted',
  'toUpperCase',
  'trim',
  'trimEnd',
  'trimStart',
]);

const isNode = (value: unknown): value is Node =>
  typeof value === 'object' && value !== null && typeof (value as Node).type === 'string';

/** Without parentheses, assertions and `!`, which do nothing when the program runs. */
function bare(node: Node): Node {
  return ['ParenthesizedExpression', 'TSAsExpression', 'TSNonNullExpression', 'TSSatisfiesExpression'].includes(
    node.type,
  )
    ? bare(node.expression as Node)
    : node;
}

const isText = (node: Node): boolean => {
  const { type, value, operator, left, right } = bare(node);
  return (
    type === 'TemplateLiteral' ||
    (type === 'Literal' && typeof value === 'string') ||
    (type === 'BinaryExpression' && operator === '+' && (isText(left as Node) || isText(right as Node)))
  );
};
const nameOf = (callee: Node): string =>
  String(callee.type === 'MemberExpression' ? (callee.property as Node).name : callee.name);
const leaves = (node: Node): boolean =>
  ['ThrowStatement', 'ReturnStatement', 'ContinueStatement', 'BreakStatement'].includes(node.type) ||
  (node.type === 'BlockStatement' && (node.body as Node[]).length === 1 && leaves((node.body as Node[])[0]));

/** All mutants of a file, in the order of the text. */
export function mutantsOf(file: string, source: string): Mutant[] {
  const found: Mutant[] = [];
  const text = (node: Node) => source.slice(node.start, node.end);
  const change = (
    kind: Kind,
    site: Node,
    [start, end]: readonly [number, number],
    replacement: string,
    statement = false,
  ) => found.push({ file, kind, start, end, replacement, site: { start: site.start, end: site.end, statement } });
  const range = (node: Node) => [node.start, node.end] as const;

  /** Where the operator between two operands stands. */
  const operatorRange = (left: Node, right: Node, operator: string): [number, number] => {
    const at = source.indexOf(operator, left.end);
    if (at < 0 || at >= right.start)
      throw new Error(`${file}: no ${operator} between ${text(left)} and ${text(right)}`);
    return [at, at + operator.length];
  };

  function operators(node: Node): void {
    const [left, right, operator] = [node.left as Node, node.right as Node, String(node.operator)];
    if (operator === '??') return void change('logical', node, range(node), text(left));
    const at = operatorRange(left, right, operator);
    if (operator in arithmetic && !(/^\+=?$/.test(operator) && (isText(left) || isText(right))))
      change('arithmetic', node, at, arithmetic[operator]);
    if (operator in boundary) change('boundary', node, at, boundary[operator]);
    if (operator in comparison) change('comparison', node, at, comparison[operator]);
    if (operator in logical) change('logical', node, at, logical[operator]);
  }

  function condition(test: Node): void {
    const inner = bare(test);
    if (inner.type === 'UnaryExpression' && inner.operator === '!')
      change('negated condition', inner, range(inner), text(inner.argument as Node));
    else if (!(inner.type === 'BinaryExpression' && String(inner.operator) in comparison))
      change('negated condition', test, range(test), `!(${text(test)})`);
  }

  function call(node: Node): void {
    const callee = node.callee as Node;
    const given = node.arguments as Node[];
    const name = nameOf(callee);
    const plain = given.every(x => x.type !== 'SpreadElement');
    const onMath = callee.type === 'MemberExpression' && (callee.object as Node).name === 'Math';
    if (callee.type === 'MemberExpression' && !onMath && dispensable.has(name))
      change('removed call', node, range(node), text(callee.object as Node));
    if (
      plain &&
      (onMath
        ? given.length > 0
        : callee.type === 'Identifier' && name !== 'String' && given.length === 1 && !isText(given[0]))
    )
      change('removed call', node, range(node), `(${text(given[0])})`);
    if (!plain || symmetric.has(name)) return;
    for (let i = 0; i + 1 < given.length; i++) {
      const [a, b] = [given[i], given[i + 1]];
      // Of one form: others are mostly of different types, and no program the compiler accepts.
      const alike =
        bare(a).type === bare(b).type &&
        ['Identifier', 'MemberExpression', 'Literal', 'BinaryExpression', 'UnaryExpression', 'CallExpression'].includes(
          bare(a).type,
        );
      if (alike && !isText(a) && !isText(b) && text(a) !== text(b))
        change('swapped arguments', node, [a.start, b.end], text(b) + source.slice(a.end, b.start) + text(a));
    }
  }

  /** `chained`: within a chain of `?.`, where the parts of the chain are no expressions of their own. */
  function visit(node: Node, chained: boolean): void {
    const { type } = node;
    if (type.startsWith('TS') && bare(node) === node) return; // a type
    switch (type) {
      case 'ImportDeclaration':
      case 'ThrowStatement':
        return;
      case 'NewExpression':
        if (nameOf(node.callee as Node).endsWith('Error')) return;
        break;
      case 'BinaryExpression':
      case 'LogicalExpression':
        operators(node);
        break;
      case 'AssignmentExpression':
        if (String(node.operator) in arithmetic && !isText(node.right as Node))
          change(
            'arithmetic',
            node,
            operatorRange(node.left as Node, node.right as Node, String(node.operator)),
            arithmetic[String(node.operator)],
          );
        break;
      case 'UpdateExpression': {
        const at = node.prefix ? node.start : node.end - 2;
        change('arithmetic', node, [at, at + 2], node.operator === '++' ? '--' : '++');
        break;
      }
      case 'UnaryExpression':
        if (node.operator === '-') change('arithmetic', node, range(node), text(node.argument as Node));
        break;
      case 'Literal':
        if (typeof node.value === 'number')
          change('constant', node, range(node), String(Number.isInteger(node.value) ? node.value + 1 : 2 * node.value));
        if (typeof node.value === 'boolean') change('constant', node, range(node), String(!node.value));
        return;
      case 'IfStatement':
        condition(node.test as Node);
        if (!node.alternate && leaves(node.consequent as Node))
          change('removed statement', node, range(node), ';', true);
        break;
      case 'ConditionalExpression':
      case 'WhileStatement':
      case 'DoWhileStatement':
        condition(node.test as Node);
        break;
      case 'ExpressionStatement':
        if (!node.directive) change('removed statement', node, range(node), ';', true);
        break;
      case 'CallExpression':
        if (!chained) call(node);
        break;
    }
    const within =
      type === 'ChainExpression' ||
      (chained && ['MemberExpression', 'CallExpression', 'TSNonNullExpression'].includes(type));
    for (const [key, value] of Object.entries(node)) {
      if (key === 'update' && type === 'ForStatement') continue;
      if (
        !node.computed &&
        ((key === 'key' && /Property|Method/.test(type)) || (key === 'property' && type === 'MemberExpression'))
      )
        continue;
      for (const child of Array.isArray(value) ? value : [value])
        if (isNode(child)) visit(child, within && ['expression', 'object', 'callee'].includes(key));
    }
  }

  visit(parseAst(source, { lang: 'ts' }) as unknown as Node, false);
  return found
    .filter(m => m.replacement !== source.slice(m.start, m.end))
    .sort((a, b) => a.start - b.start || a.end - b.end);
}

/** The source with the mutant in it. */
export const apply = (
  source: string,
  { start, end, replacement }: Pick<Mutant, 'start' | 'end' | 'replacement'>,
): string => source.slice(0, start) + replacement + source.slice(end);

/** Whether the mutant is a program at all. */
export function parses(source: string): boolean {
  try {
    parseAst(source, { lang: 'ts' });
    return true;
  } catch {
    return false;
  }
}

/** The line of a mutant, from 1. */
export const lineOf = (source: string, { start }: Pick<Mutant, 'start'>): number =>
  source.slice(0, start).split('\n').length;

/** The lines that a mutant changes, before and after. */
export function diffOf(source: string, mutant: Mutant): string {
  const from = source.lastIndexOf('\n', mutant.start - 1) + 1;
  const to = `${source}\n`.indexOf('\n', Math.max(mutant.end, mutant.start));
  const changed = apply(source, mutant);
  const lines = (sign: string, part: string) => part.split('\n').map(line => `  ${sign} ${line.trim()}`);
  return [
    ...lines('-', source.slice(from, to)),
    ...lines('+', changed.slice(from, to + changed.length - source.length)),
  ].join('\n');
}
