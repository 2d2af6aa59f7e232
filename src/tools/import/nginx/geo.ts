/** `geo` (ngx_stream_geo_module): values by the client's address. */
import { networksOf } from '../networks.ts';
import type { Directive } from './syntax.ts';
import type { Valued } from './variables.ts';

/** The values, the smallest networks first; undefined if it is not by the client's address, or in ranges. */
export function geoValues(geo: Directive): readonly Valued[] | undefined {
  const [source] = geo.words;
  if (geo.words.length === 2 && source !== '$remote_addr') return undefined;
  const inner = geo.block ?? [];
  if (inner.some(({ name }) => ['ranges', 'delete', 'proxy', 'proxy_recursive', 'include'].includes(name)))
    return undefined;
  const of = (directive: Directive, when: Valued['when']): Valued => ({
    when,
    value: directive.words[0] ?? '',
    place: directive,
    text: `${directive.file}:${directive.line} ${directive.text}`,
  });
  try {
    const entries = inner
      .filter(({ name }) => name !== 'default')
      .map((directive) => ({ directive, networks: networksOf([directive.name]) }));
    const length = ({ networks: { v4, v6 } }: (typeof entries)[number]) => (v4[0] ?? v6[0] ?? '').length;
    // The last of two for the same network counts.
    const sorted = entries.reverse().sort((a, b) => length(b) - length(a));
    const fallback = inner.find(({ name }) => name === 'default') ?? { ...geo, words: [''] };
    return [
      ...sorted.map(({ directive, networks }) => of(directive, [{ kind: 'from', networks }])),
      of(fallback, []),
    ];
  } catch {
    return undefined;
  }
}
