/**
 * nginx's variables, as far as they depend on what penstock sees: `map`, `geo`, `set`, and those of
 * ssl_preread.
 */
import type { Condition } from '../decision.ts';
import type { SourcePlace } from '../notes.ts';
import { geoValues } from './geo.ts';
import { lookUp, mapConditions } from './map.ts';
import type { Directive } from './syntax.ts';

/** A value, and when the variable has it; in order, the first that holds counts. */
export type Valued = {
  readonly when: readonly Condition[];
  readonly value: string;
  readonly place: SourcePlace;
  readonly text: string;
};

export type Variables = {
  /** All values of an expression such as `$backend`, `10.0.0.1:$port` or plain text. */
  readonly valuesOf: (expression: string, at: Directive) => readonly Valued[];
};

/** More alternatives than anybody writes, which nested maps could make. */
const most = 5000;

/** `stream` are the directives of the stream block; `own` those of the server, for its `set`. */
export function createVariables(stream: readonly Directive[], own: readonly Directive[]): Variables {
  const defined = new Map<string, Directive>();
  for (const directive of [...stream, ...own]) {
    const { name, words, block } = directive;
    const target = name === 'set' ? words[0] : block && words.at(-1);
    if (['map', 'geo', 'set', 'split_clients'].includes(name) && target?.startsWith('$')) {
      // A second `set`, or one of another name space, could hide the first.
      defined.set(
        target.slice(1),
        defined.has(target.slice(1)) ? { ...directive, name: 'twice' } : directive,
      );
    }
  }

  function valuesOf(expression: string, at: Directive, depth: number): readonly Valued[] {
    const plain = { place: at, text: `${at.file}:${at.line} ${at.text}` };
    if (!expression.includes('$')) return [{ when: [], value: expression, ...plain }];
    const name = /^\$(?:\{(\w+)\}|(\w+))$/.exec(expression);
    const directive = defined.get(name?.[1] ?? name?.[2] ?? '');
    const found = directive && depth < 8 ? expand(directive, depth) : undefined;
    return found && found.length <= most ? found : [unknown(plain)];
  }

  function expand(directive: Directive, depth: number): readonly Valued[] | undefined {
    const { name, words } = directive;
    if (name === 'set') return valuesOf(words[1] ?? '', directive, depth + 1);
    if (name === 'geo') return geoValues(directive)?.flatMap((it) => further(it, directive, depth));
    if (name !== 'map') return undefined;
    const source = words[0] ?? '';
    const direct = mapConditions(directive, source);
    if (direct) return direct.flatMap((it) => further(it, directive, depth));
    const sources = valuesOf(source, directive, depth + 1);
    if (sources.some(({ when }) => when.some(({ kind }) => kind === 'unknown'))) return undefined;
    return sources.flatMap((it) => {
      const value = lookUp(directive, it.value);
      return value === undefined ? [unknown(it)] : further({ ...it, value }, directive, depth);
    });
  }

  /** The value of a map may be an expression again. */
  function further(it: Valued, at: Directive, depth: number): Valued[] {
    if (!it.value.includes('$')) return [it];
    return valuesOf(it.value, at, depth + 1).map((inner) => ({
      ...inner,
      when: [...it.when, ...inner.when],
    }));
  }

  return { valuesOf: (expression, at) => valuesOf(expression, at, 0) };
}

function unknown({ place, text }: Pick<Valued, 'place' | 'text'>): Valued {
  return { when: [{ kind: 'unknown' }], value: '', place, text };
}
